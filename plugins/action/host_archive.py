# Copyright (c) 2026, Veza infrastructure team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes the archive of module host_archive on the controller, from pieces that the module reads on the host."""

from __future__ import annotations

import base64
import io
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

KINDS = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "link": tarfile.SYMTYPE}

RESERVE = 100 * 1024 * 1024
"""Bytes that stay free on the controller."""


class ActionModule(ActionBase):
    """Asks for the list, then for piece after piece."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.task_vars = task_vars
        dest = str(self._task.args.get("dest", ""))
        listed = self._ask(None)
        if listed.get("failed"):
            return listed
        files = listed["files"]
        size = sum(entry["size"] for entry in files)
        result.update(changed=not os.path.exists(dest), entries=len(files), bytes=size, size=None, dest=dest)
        if result["changed"] and not self._task.check_mode:
            try:
                self._write(dest, files, size)
            except OSError as error:
                raise AnsibleActionFail(f"{dest} can't be written on the controller: {error}.") from error
            result["size"] = os.path.getsize(dest)
        result["message"] = f"{len(files)} files and directories of {size} bytes are in {dest}."
        return result

    def _ask(self, pieces: list[dict[str, Any]] | None) -> dict[str, Any]:
        arguments = {**self._task.args, "pieces": pieces}
        # What comes back is the content of files: no verbosity may show it.
        before, self._play_context.no_log = self._play_context.no_log, True
        try:
            answer: dict[str, Any] = self._execute_module(
                module_name="veza.rabbitmq.host_archive", module_args=arguments, task_vars=self.task_vars
            )
        except AnsibleConnectionFailure as error:
            # "Unreachable" would take the play's host, localhost, out of the run past every rescue and always.
            return {"failed": True, "msg": f"The host can't be reached: {error}"}
        finally:
            self._play_context.no_log = before
        return answer

    def _write(self, dest: str, files: list[dict[str, Any]], size: int) -> None:
        """Write the archive under another name first: what is there under its own name is whole."""
        folder = os.path.dirname(dest) or "."
        free = shutil.disk_usage(folder).free
        if size + RESERVE > free:
            raise AnsibleActionFail(
                f"There is no room for {size} bytes in {folder} on the controller, which has {free} free. "
                "Nothing was copied."
            )
        # A name of its own, with mode 0600: what is there already may be somebody's link, or another run's.
        handle, part = tempfile.mkstemp(prefix=f"{os.path.basename(dest)}.", suffix=".part", dir=folder)
        try:
            with (
                os.fdopen(handle, "wb") as file,
                tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive,
            ):
                content = _Content(self._contents(files))
                for entry in files:
                    archive.addfile(_member(entry), content if entry["size"] else None)
            with open(part, "rb") as whole:
                os.fsync(whole.fileno())
            os.replace(part, dest)
        except BaseException:
            if os.path.exists(part):
                os.unlink(part)
            raise

    def _contents(self, files: list[dict[str, Any]]) -> Iterator[bytes]:
        for pieces in pieces_of(files, int(self._task.args.get("piece_bytes", 16 * 1024 * 1024))):
            answer = self._ask(pieces)
            if answer.get("failed"):
                raise AnsibleActionFail(f"The files could not be read: {answer.get('msg')}")
            yield zlib.decompress(base64.b64decode(answer["data"]))


def pieces_of(files: list[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Yield what to ask for at a time: parts of files, in their order, of at most so many bytes in all."""
    pieces: list[dict[str, Any]] = []
    room = most
    for entry in files:
        offset = 0
        while offset < entry["size"]:
            length = min(room, entry["size"] - offset)
            pieces.append({"path": entry["path"], "offset": offset, "length": length, "same": entry.get("same")})
            offset, room = offset + length, room - length
            if not room:
                yield pieces
                pieces, room = [], most
    if pieces:
        yield pieces


class _Content(io.RawIOBase):
    """The contents of all files as one stream."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._part = io.BytesIO()

    def read(self, size: int = -1) -> bytes:
        """Return so many bytes, fewer only at the end."""
        taken = self._part.read(size)
        while len(taken) < size:
            part = next(self._parts, b"")
            if not part:
                break
            self._part = io.BytesIO(part)
            taken += self._part.read(size - len(taken))
        return taken


def _member(entry: dict[str, Any]) -> tarfile.TarInfo:
    member = tarfile.TarInfo(entry["path"].lstrip("/"))
    member.type = KINDS[entry["kind"]]
    member.size, member.mode, member.mtime = entry["size"], entry["mode"], entry["mtime"]
    member.uid, member.gid, member.uname, member.gname = (entry[key] for key in ("uid", "gid", "uname", "gname"))
    member.linkname = entry["target"]
    return member
