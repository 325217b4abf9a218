"""HTML pages from templates: what is put in is shown as text, and what a template misses is an error."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError


def rendered(package: str, template: str, **values: object) -> str:
    """A template with its values, as HTML.

    Args:
        package: where the template is, as ``atdc.report``.
        template: its file's name. In it ``{{ … }}`` is text, escaped, unless it says ``|safe``; ``|thousands`` is a
            number without decimals.
        values: by the names that the template has for them: plain values, and functions that make words of them.

    Raises:
        KeyError: the template names a value that there is not.

    >>> rendered("atdc.report", "wanted_table.html")
    Traceback (most recent call last):
    KeyError: "wanted_table.html: 'words' is undefined"
    """
    try:
        return _environment(package).get_template(template).render(values)
    except UndefinedError as error:
        raise KeyError(f"{template}: {error}") from error


@cache
def _environment(package: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(package, ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["thousands"] = "{:,.0f}".format
    return environment
