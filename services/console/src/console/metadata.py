"""The metadata of all tables of the console, for migrations."""

from console.registry import Base
from console.saved_views.tables import SavedViewRow
from console.sessions import BrowserSessionRow, RefreshRow

__all__ = ["Base", "BrowserSessionRow", "RefreshRow", "SavedViewRow"]
