"""Templates: everything that is shown is escaped, and every text is looked up in the language of the request."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from console import i18n
from console.permissions import LABELS
from console.refusals import without_subscription
from shared.chassis.static_files import StaticFiles

TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"


def create_environment(files: StaticFiles) -> Environment:
    """The templates of the console."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        i18n.gettext, i18n.ngettext, newstyle=True
    )
    environment.globals.update(
        static=lambda name: "/" + files.address(name),
        languages=i18n.LANGUAGES,
        permission_labels=LABELS,
        without_subscription=without_subscription,
    )
    for name in ("instant", "exact", "day", "ago", "number", "compact", "percent", "money"):
        environment.filters[name] = _in_words(name)
    environment.filters["told"] = told
    return environment


def _in_words(name: str) -> Callable[..., str]:
    def filtered(value: Any, *more: Any) -> str:
        shown: str = getattr(i18n.current(), name)(value, *more)
        return shown

    return filtered


def told(text: str) -> str:
    """A marked text (`i18n.mark`) in the language of the request."""
    return i18n.gettext(text) if text else ""
