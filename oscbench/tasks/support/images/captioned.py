"""Images with captions: from a table of paths and captions, or from a folder of tar files as webdataset has them.

A table has a line a pair, with a header that names its columns: `path` (or `filepath`, `image`) and `caption` (or `title`, `text`), parted
by commas or tabs; paths start at the table's folder. In a tar file the members of a pair share a name up to the first point:
`000123.jpg` and `000123.txt` (or `000123.json` with a `caption`). Tar files are read in place and never unpacked.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from oscbench.errors import UserError, first_line
from oscbench.tasks.support.images.pictures import SUFFIXES, Picture, pillow

LAYOUT = "give a .csv or .tsv file with the columns path and caption, or a folder of .tar files with NAME.jpg and NAME.txt in them"
PATH_COLUMNS, CAPTION_COLUMNS = ("path", "filepath", "image"), ("caption", "title", "text")
LONGEST = 10_000
"""Characters of a caption; whatever is longer is none."""


@dataclass(frozen=True)
class Captioned:
    """An image with a caption; `name` is the image's, which several captions may share."""

    name: str
    caption: str
    picture: Picture


def captioned(place: Path, where: str) -> list[Captioned]:
    """All pairs, in a fixed order.

    Raises:
        UserError: there are none, or a line or a member that is no pair; names it.
    """
    if place.is_dir():
        shards = sorted(place.rglob("*.tar"))
        found = [pair for shard in shards for pair in _members(shard, f"{where}: {shard}")]
    elif place.suffix.lower() == ".tar":
        found = list(_members(place, f"{where}: {place}"))
    elif place.suffix.lower() in (".csv", ".tsv"):
        found = list(_lines(place, f"{where}: {place}"))
    else:
        raise UserError(f"{where}: {place}: is no table and no folder of tar files; {LAYOUT}")
    if not found:
        raise UserError(f"{where}: {place}: holds no image with a caption; {LAYOUT}")
    return found


def _lines(table: Path, where: str) -> Iterator[Captioned]:
    delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=delimiter)
            columns = [
                next((name for name in rows.fieldnames or () if name.strip().lower() in wanted), None)
                for wanted in (PATH_COLUMNS, CAPTION_COLUMNS)
            ]
            if None in columns:
                wanted = (PATH_COLUMNS, CAPTION_COLUMNS)[columns.index(None)]
                raise UserError(f"{where}: the first line names no column {' or '.join(wanted)}")
            for row in rows:
                path, caption = (row[str(column)] for column in columns)
                yield _of_line(table, path, caption, f"{where}, line {rows.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{where}: cannot be read as a table ({first_line(error)})") from error


def _of_line(table: Path, path: str | None, caption: str | None, where: str) -> Captioned:
    if not path or not caption:
        raise UserError(f"{where}: needs a path and a caption")
    place = table.parent / path
    if not place.is_file():
        raise UserError(f"{where}: {path}: no such file")
    return Captioned(path, _checked(caption, where), Picture(str(place), 0, partial(pillow().open, place)))


def _members(shard: Path, where: str) -> Iterator[Captioned]:
    """Pairs of a tar file, by the order of their images in it."""
    images: dict[str, tuple[int, int]] = {}
    texts: dict[str, str] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if not member.isfile():
                    continue
                if f".{suffix.lower()}" in SUFFIXES:
                    images[key] = (member.offset_data, member.size)
                elif suffix.lower() in ("txt", "json"):
                    texts.setdefault(
                        key, _text(tar.extractfile(member), suffix.lower(), f"{where}: {member.name}")
                    )
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{where}: cannot be read as a tar file ({first_line(error)})") from error
    for key, (offset, size) in images.items():
        if key not in texts:
            raise UserError(f"{where}: {key} has an image and no .txt or .json with its caption")
        name = f"{shard.name}/{key}"
        picture = Picture(f"{shard}: {key}", 0, partial(_open_inside, shard, offset, size))
        yield Captioned(name, _checked(texts[key], f"{where}: {key}"), picture)


def _text(file: Any, suffix: str, where: str) -> str:
    try:
        text = file.read(LONGEST * 4 + 1).decode()
        if suffix == "json":
            text = json.loads(text)["caption"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{where}: holds no caption ({first_line(error)})") from error
    return str(text)


def _checked(caption: str, where: str) -> str:
    text = " ".join(caption.split())
    if not text or len(text) > LONGEST:
        raise UserError(f"{where}: a caption has 1 to {LONGEST:,} characters, this one {len(text):,}")
    return text


def _open_inside(shard: Path, offset: int, size: int) -> Any:
    with shard.open("rb") as file:
        file.seek(offset)
        return pillow().open(io.BytesIO(file.read(size)))
