"""What `--mode=list` shows: the slots of a configuration, and the components of each.

The docs' catalogue, docs/components.md, is `as_markdown` of the same.
"""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from multimodal_vit import components
from multimodal_vit.components import SLOTS, Component, Slot
from multimodal_vit.errors import UserError, hint


def run_list(console: Console, slot: str | None) -> int:
    """Prints what a slot, or every slot, can be filled with.

    Args:
      console: where to.
      slot: its field; None: all. Components of files that were read are listed too.

    Returns:
      The exit code, 0.

    Raises:
      UserError: no such slot.
    """
    if slot is not None and slot not in SLOTS:
        raise UserError(f"--slot={slot}: there are {', '.join(SLOTS)}{hint(slot, SLOTS)}")
    for each in [SLOTS[slot]] if slot else SLOTS.values():
        console.print(_table(each))
    return 0


def _table(slot: Slot) -> Table:
    table = Table(title=f"{slot.field}: {slot.about}", title_justify="left", box=None)
    table.add_column("name", no_wrap=True)
    table.add_column("what", overflow="fold")
    if slot.has_options:
        table.add_column("options (default)", overflow="fold")
    for own in components.all_of(slot.field):
        about = own.about + ("" if own.origin == components.BUILT_IN else f" [{own.origin}]")
        row = [own.name, about.replace("[", r"\[")]
        if slot.has_options:
            row.append("\n".join(_options(own)).replace("[", r"\["))
        table.add_row(*row)
    return table


def _options(own: Component) -> Iterator[str]:
    for name, option in own.options.items():
        limits = ""
        if option.choices:
            limits = f", one of {', '.join(map(str, option.choices))}"
        elif option.least is not None or option.most is not None:
            least = "" if option.least is None else f" from {option.least:,}"
            most = "" if option.most is None else f" to {option.most:,}"
            limits = f",{least}{most}"
        yield f"{name} ({option.default!r}): {option.about}{limits}"


def as_markdown() -> str:
    """The built-in components of all slots, as a page of the documentation."""
    lines = [
        "# Components",
        "",
        "What a configuration can name. This page is written by",
        "`python -m multimodal_vit.listing > docs/components.md`; `--mode=list` shows the same",
        "with the components of installed packages and of your own files ([extend.md](extend.md)).",
    ]
    for slot in SLOTS.values():
        lines += ["", f"## `{slot.field}`", "", f"{slot.about[0].upper()}{slot.about[1:]}.", ""]
        lines += ["| name | what | options |", "| --- | --- | --- |"]
        for own in components.all_of(slot.field):
            if own.origin == components.BUILT_IN:
                options = "; ".join(_options(own)) or "–"
                cells = (f"`{own.name}`", own.about, options)
                lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(as_markdown(), end="")
