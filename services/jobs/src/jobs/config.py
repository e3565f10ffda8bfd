"""Settings of the jobs service."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.service.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of jobs, beside those of all services; `README.md` lists the environment variables."""

    model_config = SettingsConfigDict(env_prefix="JOBS_")

    port: int = Field(8003, ge=1, le=65535, description="Port to listen on.")
    bulk_bytes_max: int = Field(2 * 1024 * 1024, ge=1024, description="Largest body of `POST /v1/jobs/bulk`, in bytes.")
    import_bytes_max: int = Field(
        512 * 1024 * 1024, ge=1024, description="Largest file that can be imported, in bytes."
    )
    exports_max: int = Field(4, ge=1, le=64, description="Exports that run at once in one process; more get 503.")
    exports_per_tenant_max: int = Field(
        2, ge=1, le=64, description="Exports of one tenant that run at once in one process; more get 429."
    )
    history_months: int = Field(
        24, ge=1, le=120, description="Full months for which the history of jobs is kept, beside the current month."
    )
    deleted_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="Days after which a deleted job is purged, with its actions and history.",
    )
