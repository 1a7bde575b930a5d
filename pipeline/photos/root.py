"""Where relative photo paths start."""

from __future__ import annotations

import glob
import itertools
import os
import posixpath
from dataclasses import dataclass

from foundation.errors import InputError
from foundation.regular_files import utf8_path
from pipeline.config.sections import CatalogConfig
from pipeline.files.storage import filesystem, is_local
from pipeline.photos.archives import ARCHIVES, archives_in, is_archives, refuse_archives
from pipeline.photos.net.settings import WebSettings, web_settings


@dataclass(frozen=True)
class RootAndWeb:
    """Where relative photo paths start, and from where photos by URL are `fetched`; else those of the cache count."""

    folder: str
    web: WebSettings
    fetched: bool = True


Root = str | RootAndWeb  # a plain path or URL of a bucket: nothing is fetched


def photo_root(folder: str, catalog: CatalogConfig, fetched: bool = True) -> Root:
    """Where the photos of `catalog` are had from: `folder`, see `image_root`, and the hosts that it allows; where it is
    not `fetched`, what is kept of these.
    """
    web = web_settings(catalog)
    return folder if web is None else RootAndWeb(folder, web, fetched)


def image_root(configured: str | None, catalog_path: str) -> str:
    """Where relative photo paths start: `catalog.image_root`, or the catalog's own folder. A local one is a plain
    path; a folder of archives, without photos, the glob of these.
    """
    key = "catalog.path" if configured is None else "catalog.image_root"
    url = configured or catalog_path
    if url.startswith(("http://", "https://")):
        fix = "leave the key out, and allow the host of URLs in the catalog: catalog.photo_hosts"
        raise InputError("a folder or a bucket of photos", f"{key}={url}", fix)
    fs, path = filesystem(url, key)
    if is_local(fs) and "://" not in url:
        path = url  # as the user wrote it, relative paths too
    if configured is None:
        parts = itertools.takewhile(lambda part: not glob.has_magic(part), path.split("/"))
        fixed = path if fs.exists(path or ".") else "/".join(parts)
        path = fixed if fs.isdir(fixed or ".") else posixpath.dirname(fixed)
        return (path or ".") if is_local(fs) else str(fs.unstrip_protocol(path))
    if not is_local(fs):
        return configured
    return archives_in(path) if os.path.isdir(path) else path


def existing_root(configured: str | None, catalog_path: str) -> str:
    """`image_root`, when it is there; InputError for a local folder or archive that is not. A local one is made
    absolute: a page of hits may be asked for from another folder than the run.
    """
    root = image_root(configured, catalog_path)
    if "://" in root:
        if root.lower().endswith(ARCHIVES):
            fix = "copy it to a folder of this machine, or unpack it into the bucket"
            raise InputError("archives of photos on this machine", f"catalog.image_root={root}", fix)
        return root
    if is_archives(root):
        refuse_archives(os.path.abspath(root))
    elif not os.path.isdir(root):
        fix = "correct catalog.image_root; photo paths are relative to it"
        raise InputError("a folder of photos", f"catalog.image_root={root}, which is none", fix)
    return utf8_path(os.path.abspath(root))
