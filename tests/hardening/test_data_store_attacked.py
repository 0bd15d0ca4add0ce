"""The data store loses nothing silently, deletes nothing that is not its own, and keeps no litter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from command_line import environment

from oscbench.data.fingerprint import files_below, fingerprint_now
from oscbench.data.listing import added
from oscbench.data.prepared import prepared
from oscbench.data.store import add, entries, locate, verify
from oscbench.errors import UserError


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("OSCBENCH_DATA", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def photographs(tmp_path):
    """A hundred classes with a picture of training and one of validation each."""
    folder = tmp_path / "photographs"
    for split in ("train", "val"):
        for number in range(100):
            place = folder / split / f"n{number:03d}"
            place.mkdir(parents=True)
            (place / "a.JPEG").write_bytes(b"picture %d" % number)
    return folder


@pytest.fixture
def stories(tmp_path):
    folder = tmp_path / "stories"
    folder.mkdir()
    for name in ("TinyStories-train.txt", "TinyStories-valid.txt"):
        (folder / name).write_text("One day.\n<|endoftext|>\n")
    return folder


def told(call, *arguments, **options):
    with pytest.raises(UserError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("link", [False, True])
def test_a_class_behind_a_link_that_stays_inside_is_filed_with_the_others(photographs, link):
    (photographs / "train" / "n007").rename(photographs / "shared")
    (photographs / "train" / "n007").symlink_to("../shared")
    entry = add("imagenet100", photographs, link=link)
    filed = locate("imagenet100").path
    assert (filed / "train" / "n007" / "a.JPEG").read_bytes() == b"picture 7"
    assert len(list((filed / "train").iterdir())) == 100, "what was checked is what was filed"
    assert entry.num_files == 201
    assert verify("imagenet100") is None


@pytest.mark.parametrize("whole", [True, False])
def test_a_link_that_leads_out_is_refused_by_name(photographs, tmp_path, store, whole):
    outside = tmp_path / "outside"
    if whole:
        (photographs / "train" / "n007").rename(outside)
        place = photographs / "train" / "n007"
    else:
        (photographs / "train" / "n007" / "a.JPEG").rename(outside)
        place = photographs / "train" / "n007" / "a.JPEG"
    place.symlink_to(outside)
    assert told(add, "imagenet100", photographs).startswith(f"imagenet100: {place}: is a link to {outside}")
    assert not store.exists()


def test_a_named_file_behind_a_link_that_leads_out_is_refused(stories, tmp_path):
    path = stories / "TinyStories-valid.txt"
    path.rename(tmp_path / "elsewhere.txt")
    path.symlink_to(tmp_path / "elsewhere.txt")
    assert "is a link to" in told(add, "tinystories", stories)


def test_the_source_itself_may_be_a_link(stories, tmp_path):
    (tmp_path / "link").symlink_to(stories)
    assert "2 files" in added("tinystories", tmp_path / "link", link=False)


def test_links_in_a_circle_and_into_nothing_and_pipes_are_a_line(photographs):
    train = photographs / "train"
    (train / "n000" / "again").symlink_to(train)
    assert "leads to a folder around it" in told(add, "imagenet100", photographs)
    (train / "n000" / "again").unlink()
    (train / "n000" / "gone").symlink_to("nowhere")
    assert "leads nowhere" in told(add, "imagenet100", photographs)
    (train / "n000" / "gone").unlink()
    os.mkfifo(train / "n000" / "pipe")
    assert "is neither a file nor a folder" in told(add, "imagenet100", photographs)


def test_a_hash_sees_what_lies_behind_links(stories, tmp_path):
    before = fingerprint_now(stories)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "c.txt").write_text("more")
    (stories / "more").symlink_to(tmp_path / "more")
    assert [name for name, _ in files_below(stories)][-1] == "more/c.txt"
    assert fingerprint_now(stories) != before


@pytest.mark.parametrize(
    "path",
    [
        "../victim",
        "/{tmp}/victim/x",
        "files/../../victim/x",
        "files/x",
        "files",
        "",
        "victim/a/b",
        "files/{sha}/../x",
        "files/{sha}",
        "files/{other}/x",
    ],
)
def test_a_manifest_that_leads_out_of_the_store_is_refused_and_deletes_nothing(
    stories, store, tmp_path, path
):
    victim = tmp_path / "victim"
    (victim / "x").mkdir(parents=True)
    (victim / "x" / "precious.txt").write_text("mine")
    entry = add("tinystories", stories)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["data"]["tinystories"]["path"] = path.format(
        tmp=str(tmp_path)[1:], sha=entry.sha256, other="0" * 64
    )
    (store / "manifest.json").write_text(json.dumps(manifest))
    (stories / "TinyStories-valid.txt").write_text("Another day.\n")
    assert "not readable as a manifest" in told(add, "tinystories", stories)
    assert "files/<sha256>/<name>" in told(entries)
    assert (victim / "x" / "precious.txt").read_text() == "mine"


def test_what_a_killed_process_left_is_removed_by_the_next(stories, store):
    script = (
        "import os, sys, shutil\n"
        "from pathlib import Path\n"
        "import oscbench.data.store as store\n"
        "def slow(path, target, *, link):\n"
        "    shutil.copyfile(path, target)\n"
        "    print('copied', flush=True)\n"
        "    sys.stdin.read()\n"
        "store._take = slow\n"
        f"store.add('tinystories', Path({str(stories)!r}))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "copied\n"
    process.kill()
    process.communicate()
    (store / ".writing-x.tmp").write_text("half")
    (litter,) = (store / "files").glob(".adding-*")
    add("tinystories", stories)
    assert not litter.exists()
    assert not (store / ".writing-x.tmp").exists()
    assert verify("tinystories") is None


def test_half_made_tensors_are_removed_by_the_next_that_makes_them_and_by_nobody_else(store):
    made = {"a": torch.arange(3)}
    prepared("one v1", lambda: made)
    (kept,) = (path for path in (store / "prepared").iterdir() if path.name.startswith("one"))
    mine = store / "prepared" / f".making-{kept.name}-x"
    other = store / "prepared" / ".making-two-v1-y"
    for litter in (mine, other):
        litter.mkdir()
    (kept / "tensors.pt").write_bytes(b"damaged")
    prepared("one v1", lambda: made)
    assert not mine.exists()
    assert other.exists(), "its maker may be alive"


def test_a_folder_of_many_files_is_listed_quickly(tmp_path):
    for number in range(3000):
        (tmp_path / f"f{number}").touch()
    started = time.process_time()
    assert len(files_below(tmp_path)) == 3000
    assert time.process_time() - started < 2.0
