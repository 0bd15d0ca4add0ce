"""Data sets that suites may name, each declared once: what it is, which files, and how to tell the right ones.

Sizes and checksums stand here only where they are public and never change; where none stands, the store keeps the hash that it saw
when the data were added, and holds them to it.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
"""The ten words of keyword spotting (Warden, arXiv 1804.03209)."""
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
"""In the order of their numbers (Krizhevsky, 2009)."""
CIFAR10_ROW = 1 + 3 * 32 * 32
"""Bytes of an image and its class."""
CAMVID_SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Folders of CamVid by split; labels lie in those of the same name and `annot`."""
COCO_SPLITS = {"train": "train2017", "test": "val2017"}
"""Folders of COCO's images by split; panoptic annotations are `panoptic_` and the same name."""
OBJECT_SPLITS = ("train", "val", "test")
"""Endings of the files that AKOrN's script writes."""
SPOKEN_DIGIT = re.compile(r"([0-9])_([a-z]+)_([0-9]+)\.wav")
"""Name of a recording: digit, speaker, which of them (Jakobovski et al.)."""


@dataclass(frozen=True)
class KnownFile:
    """A file of a data set.

    Attributes:
        name: as published.
        num_bytes: its size, where that is published.
        sha256: its checksum, where that is published.
    """

    name: str
    num_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Known:
    """A data set that can be stored by name.

    Attributes:
        name: in suites and on the command line.
        what: one line for people.
        files: what must be there; a single file is given itself, several lie in a folder.
        whole_folder: the folder is kept with all that is in it, not the named files alone.
        mistake: what else is wrong with such a folder, or None.
    """

    name: str
    what: str
    files: tuple[KnownFile, ...]
    whole_folder: bool = False
    mistake: Callable[[Path], str | None] | None = None

    @property
    def is_file(self) -> bool:
        """Whether the data set is one file and no folder."""
        return len(self.files) == 1 and not self.whole_folder

    def parts(self, place: Path) -> list[tuple[KnownFile, Path]]:
        """Each declared file and where it lies, when the data set lies at `place`."""
        if self.is_file:
            return [(self.files[0], place)]
        return [(file, place / file.name) for file in self.files]


_BOARD = re.compile(rb"[0-9.]{81},[1-9]{81}")


def _speech_mistake(folder: Path) -> str | None:
    """Ten word folders, and every recording of them that the official lists name."""
    for word in KEYWORDS:
        if next((folder / word).glob("*.wav"), None) is None:
            return f"{word}/ holds no .wav file"
    for name in ("testing_list.txt", "validation_list.txt"):
        for line in (folder / name).read_text(encoding="utf-8", errors="replace").splitlines():
            if line.split("/")[0] in KEYWORDS and not (folder / line).is_file():
                return f"{name} names {line}, which is not there"
    return None


def _cifar_mistake(folder: Path) -> str | None:
    """Five batches of training and one of test, binary or pickled, each as long as images of its kind are."""
    for name in (*(f"data_batch_{part}" for part in range(1, 6)), "test_batch"):
        path = next(
            (folder / f"{name}{end}" for end in ("", ".bin") if (folder / f"{name}{end}").is_file()), None
        )
        if path is None:
            return f"neither {name} nor {name}.bin is there"
        size = path.stat().st_size
        if path.suffix == ".bin" and (size == 0 or size % CIFAR10_ROW):
            return f"{path.name} has {size:,} bytes, which are no whole number of images of {CIFAR10_ROW:,}"
        if path.suffix != ".bin" and (size < CIFAR10_ROW or not _begins(path, b"\x80")):
            return f"{path.name} is no pickle of images"
    return None


def _begins(path: Path, mark: bytes) -> bool:
    """Whether a file's first bytes are these."""
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def class_folders_mistake(folder: Path, classes: Sequence[str]) -> str | None:
    """A folder for each class in `train` and in `test`, or what is missing or too much."""
    for split in ("train", "test"):
        there = {path.name for path in (folder / split).glob("*/")}
        for name in sorted(set(classes) - there):
            return f"{split}/{name}/ is not there"
        for name in sorted(there - set(classes)):
            return f"{split}/{name}/ is none of the classes {', '.join(classes)}"
    return None


def _cifar_images_mistake(folder: Path) -> str | None:
    """Ten classes of training and of test."""
    return class_folders_mistake(folder, CIFAR10_CLASSES)


def _spoken_digits_mistake(folder: Path) -> str | None:
    """Recordings, all named as published."""
    names = sorted(path.name for path in (folder / "recordings").glob("*.wav"))
    if not names:
        return "recordings/ holds no .wav file"
    wrong = next((name for name in names if SPOKEN_DIGIT.fullmatch(name) is None), None)
    return f"recordings/{wrong} is not named DIGIT_SPEAKER_INDEX.wav" if wrong else None


def camvid_mistake(folder: Path) -> str | None:
    """Images of three splits and a label picture for each, or what is missing."""
    return _unlabelled(folder, {name: f"{name}annot" for name in CAMVID_SPLITS.values()})


def ade20k_mistake(folder: Path) -> str | None:
    """Images of training and validation and a label picture for each, or what is missing."""
    return _unlabelled(
        folder, {f"images/{name}": f"annotations/{name}" for name in ("training", "validation")}
    )


def coco_panoptic_mistake(folder: Path) -> str | None:
    """Images of two splits, a list of their segments for each, and label pictures, or what is missing."""
    for name in COCO_SPLITS.values():
        if not (folder / "annotations" / f"panoptic_{name}.json").is_file():
            return f"annotations/panoptic_{name}.json is not there"
        for needed in (folder / name, coco_labels(folder, name)):
            if next(needed.glob("*.*"), None) is None:
                return f"{needed.relative_to(folder)}/ holds no picture"
    return None


def coco_labels(folder: Path, name: str) -> Path:
    """Where label pictures lie: beside the images if a folder is there, or beside the lists, where COCO's archives have them."""
    beside = folder / f"panoptic_{name}"
    return beside if beside.is_dir() else folder / "annotations" / f"panoptic_{name}"


def _unlabelled(folder: Path, labels_of: dict[str, str]) -> str | None:
    """A folder of images without any, or an image without its labels."""
    for images, labels in labels_of.items():
        names = sorted(path.stem for path in (folder / images).glob("*") if path.suffix in (".jpg", ".png"))
        if not names:
            return f"{images}/ holds no image (.jpg, .png)"
        there = {path.stem for path in (folder / labels).glob("*.png")}
        lost = next((name for name in names if name not in there), None)
        if lost is not None:
            return f"{labels}/{lost}.png is not there"
    return None


def _photographs_mistake(folder: Path) -> str | None:
    """A hundred classes of training, and folders for the same in `val`."""
    names = {path.name for path in (folder / "train").glob("*/")}
    if len(names) != 100:
        return f"train/ holds {len(names)} classes, not 100"
    lost = sorted(name for name in names if not (folder / "val" / name).is_dir())
    return f"val/{lost[0]}/ is not there" if lost else None


def _arc_mistake(folder: Path) -> str | None:
    """Tasks to train on, and tasks that are scored, each with grids before and after."""
    for split in ("training", "evaluation"):
        paths = sorted((folder / split).glob("*.json"))
        if not paths:
            return f"{split}/ holds no .json file"
        for path in paths:
            if (wrong := _no_task(path)) is not None:
                return f"{split}/{path.name} {wrong}"
    return None


def _no_task(path: Path) -> str | None:
    """Why a file holds no task of ARC-AGI, or None; what a task reads of it is checked there, grid by grid."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return "is no JSON"
    for part in ("train", "test"):
        pairs = content.get(part) if isinstance(content, dict) else None
        if not isinstance(pairs, list) or not pairs:
            return f'has no list of pairs "{part}"'
        if not all(
            isinstance(pair, dict) and isinstance(pair.get(side), list)
            for pair in pairs
            for side in ("input", "output")
        ):
            return f'has a pair without grids "input" and "output" in "{part}"'
    return None


def _boards_mistake(file: Path) -> str | None:
    """Lines of a puzzle and its solution; whether each has that one solution is for a task to prove, which takes minutes."""
    with file.open("rb") as lines:
        for number, line in enumerate(itertools.islice(lines, 1000), start=1):
            if line.strip() and not _BOARD.fullmatch(line.strip()):
                return f"line {number}: is not puzzle,solution of 81 digits each (0 or . is blank)"
    return None


def _shards_mistake(folder: Path) -> str | None:
    """One tar file at least, wherever it lies."""
    return None if next(folder.rglob("*.tar"), None) else "holds no .tar file"


_ALL = (
    Known(
        "enwik8",
        "first 10^8 bytes of English Wikipedia of 2006-03-03 (mattmahoney.net/dc/textdata.html); characters",
        (
            KnownFile(
                "enwik8",
                100_000_000,
                "2b49720ec4d78c3c9fabaee6e4179a5e997302b3a70029f30f2d582218c024a8",
            ),
        ),
    ),
    Known(
        "wikitext2",
        "WikiText-2 raw, a folder of three files (Merity et al., arXiv 1609.07843); words",
        (
            KnownFile(
                "wiki.train.raw",
                10_940_747,
                "6707892fa3788b5ab9ed78ab5ff37d9fe825f6011a2ad4fcd6a6d467f0e7da57",
            ),
            KnownFile(
                "wiki.valid.raw",
                1_146_846,
                "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7",
            ),
            KnownFile(
                "wiki.test.raw",
                1_290_590,
                "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
            ),
        ),
    ),
    Known(
        "tinystories",
        "TinyStories, a folder of two text files (Eldan and Li, arXiv 2305.07759); words",
        (KnownFile("TinyStories-train.txt"), KnownFile("TinyStories-valid.txt")),
    ),
    Known(
        "speech_commands",
        "Speech Commands v0.02, the unpacked folder (Warden, arXiv 1804.03209); spoken words",
        (KnownFile("testing_list.txt"), KnownFile("validation_list.txt")),
        whole_folder=True,
        mistake=_speech_mistake,
    ),
    Known(
        "cifar10",
        "CIFAR-10, the unpacked folder cifar-10-batches-bin or -py (Krizhevsky, 2009); small photographs",
        (),
        whole_folder=True,
        mistake=_cifar_mistake,
    ),
    Known(
        "cifar10_jpeg",
        "CIFAR-10 as JPEG images, a folder of train/CLASS/*.jpg and test/CLASS/*.jpg; small photographs, not bit for bit the original",
        (),
        whole_folder=True,
        mistake=_cifar_images_mistake,
    ),
    Known(
        "spoken_digits",
        "Free Spoken Digit Dataset, the folder with recordings/DIGIT_SPEAKER_INDEX.wav (Jakobovski et al., CC BY-SA 4.0); spoken digits",
        (),
        whole_folder=True,
        mistake=_spoken_digits_mistake,
    ),
    Known(
        "tinyshakespeare",
        "1,115,394 bytes of Shakespeare (github.com/karpathy/char-rnn, data/tinyshakespeare/input.txt); characters",
        (
            KnownFile(
                "tinyshakespeare.txt",
                1_115_394,
                "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
            ),
        ),
    ),
    Known(
        "sudoku_satnet",
        "SATNet's Sudoku boards, one file of lines puzzle,solution, 81 digits each, 0 = blank (Wang et al., arXiv 1905.12149); 9 × 9 boards",
        (KnownFile("sudoku-satnet.csv"),),
        mistake=_boards_mistake,
    ),
    Known(
        "sudoku_rrn",
        "RRN's Sudoku test boards of 17 to 34 givens, one file of lines puzzle,solution (Palm et al., arXiv 1711.08028); 9 × 9 boards",
        (KnownFile("sudoku-rrn-test.csv"),),
        mistake=_boards_mistake,
    ),
    Known(
        "camvid",
        "CamVid street scenes, a folder of train, val, test and trainannot, valannot, testannot (Brostow et al., 2008); segmentation",
        (),
        whole_folder=True,
        mistake=camvid_mistake,
    ),
    Known(
        "ade20k",
        "ADE20K scene parsing, the unpacked folder ADEChallengeData2016 (Zhou et al., 2017; research use); segmentation",
        (),
        whole_folder=True,
        mistake=ade20k_mistake,
    ),
    Known(
        "coco_panoptic",
        "COCO 2017, a folder of train2017, val2017, and annotations with panoptic_*2017.json and PNG files (cocodataset.org); segments",
        (),
        whole_folder=True,
        mistake=coco_panoptic_mistake,
    ),
    Known(
        "tetrominoes",
        "Tetrominoes with masks, a folder of three .npz files that AKOrN's convert_tfrecord_to_np.py wrote (arXiv 2410.13821); objects",
        tuple(KnownFile(f"tetrominoes_{split}.npz") for split in OBJECT_SPLITS),
    ),
    Known(
        "multi_dsprites",
        "Multi-dSprites, coloured on grey, a folder of three .npz files that AKOrN's convert_tfrecord_to_np.py wrote; objects",
        tuple(KnownFile(f"colored_on_grayscale_{split}.npz") for split in OBJECT_SPLITS),
    ),
    Known(
        "clevr6",
        "CLEVR of up to six objects, a folder of three .npz files that AKOrN's convert_tfrecord_to_np.py wrote; objects",
        tuple(KnownFile(f"clevr_with_masks_{split}.npz") for split in OBJECT_SPLITS),
    ),
    Known(
        "arc_agi_1",
        "ARC-AGI-1, the folder with training/*.json and evaluation/*.json (Chollet, arXiv 1911.01547); rules on grids",
        (),
        whole_folder=True,
        mistake=_arc_mistake,
    ),
    Known(
        "datacomp_medium",
        "DataComp's medium pool, the folder of .tar files that its downloader leaves (Gadre et al., arXiv 2304.14108); images with captions",
        (),
        whole_folder=True,
        mistake=_shards_mistake,
    ),
    Known(
        "imagenet100",
        "a hundred classes of ImageNet, a folder of train/CLASS/*.JPEG and val/CLASS/*.JPEG (image-net.org); photographs",
        (),
        whole_folder=True,
        mistake=_photographs_mistake,
    ),
)

KNOWN = {known.name: known for known in _ALL}
"""Every data set that can be stored, by name."""
