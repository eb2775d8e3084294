"""What a run of Weights & Biases has written on this machine.

Each process of a run leaves a file `run-<id>.wandb`: after a header of 7 bytes a log in the format of LevelDB, blocks
of 32 KiB with records in one or several pieces (https://github.com/google/leveldb/blob/main/doc/log_format.md). Each
record is a message of wandb's own protocol.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ("history_rows", "read_records")

BLOCK, HEADER, BEGIN = 2**15, 7, 7
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def read_records(path: Path) -> Iterator[Any]:
    """The messages of a file, up to the place where a kill has cut it.

    Args:
        path: The file.
    """
    from google.protobuf.message import DecodeError
    from wandb.proto import wandb_internal_pb2 as messages

    content, at, pending = path.read_bytes(), BEGIN, b""
    while at + HEADER <= len(content):
        if (left := BLOCK - at % BLOCK) < HEADER:  # where no header fits, a block ends in padding
            at += left
            continue
        length, kind = struct.unpack("<HB", content[at + 4 : at + HEADER])
        piece = content[at + HEADER : at + HEADER + length]
        if len(piece) < length or kind not in (WHOLE, FIRST, MIDDLE, LAST):
            return
        pending = piece if kind in (WHOLE, FIRST) else pending + piece
        at += HEADER + length
        if kind in (WHOLE, LAST):
            record = messages.Record()  # type: ignore[attr-defined]  # made when the module is imported
            try:
                record.ParseFromString(pending)
            except DecodeError:
                return
            yield record


def history_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows that were logged, name -> value; of charts and pictures the name with what wandb notes of them.

    Args:
        path: The file.
    """
    for record in read_records(path):
        if record.WhichOneof("record_type") == "history":
            row: dict[str, Any] = {}
            for item in record.history.item:
                name, *inner = item.nested_key or [item.key]
                value = json.loads(item.value_json)
                if inner:
                    row.setdefault(name, {})["/".join(inner)] = value
                else:
                    row[name] = value
            yield row
