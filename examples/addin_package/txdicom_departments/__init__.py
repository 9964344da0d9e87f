"""An add-in that offers a base service: other add-ins ask it to which department a calling AE title belongs."""

from pydantic import BaseModel, Field
from zope.interface import Interface, implementer

from txdicom.interfaces import IAddinOptions, IBaseServiceProvider, IDicomAddin


class IDepartments(Interface):
    """A base service: which AE title belongs to whom."""

    def department(ae_title):  # noqa: N805 (an interface's method)
        """The name of the department; the default one for a title that is not in the table."""


class Settings(BaseModel):
    """What addins.d/departments.toml may say."""

    default: str = Field(default="unknown", description="The department of AE titles that are not in the table")
    table: dict[str, str] = Field(default={}, description="Departments by AE title")


@implementer(IDicomAddin, IAddinOptions, IBaseServiceProvider, IDepartments)
class Departments:
    name, version, author = "departments", "1.0", "you"
    description = "Says to which department an AE title belongs"
    settings_model = Settings

    def apply(self, settings):
        self.settings = settings

    def register(self, services):
        services.provide(IDepartments, self)

    def load(self, server):
        pass

    def unload(self):
        pass

    def department(self, ae_title):
        return self.settings.table.get(ae_title, self.settings.default)
