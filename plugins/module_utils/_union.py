# Copyright (c) adt.assets contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of an asset directory, of all its buckets together: what a mount shows."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping

from ._catalog import Catalog
from ._decide import Entry
from ._download import Downloader
from ._manifest import ManifestFile
from ._spread import Holding, gather, overlay, twins_warning
from ._store import Listed


class Union:
    """What lies in the buckets (``there``) and what the manifests know of it (``entries``), by key.

    Of a key in several buckets it is the first one's object; ``twins`` is a warning about such keys, or empty.
    """

    def __init__(self, catalog: Catalog, buckets: tuple[str, ...], site: str, directory: str) -> None:
        for bucket in buckets:
            catalog.require_owner(bucket, site, directory)
        self._downloaders = [Downloader(catalog.store, bucket) for bucket in buckets]
        self._listings = [{listed.key: listed for listed in catalog.store.list(bucket)} for bucket in buckets]
        self.manifests = [ManifestFile(catalog, bucket).read() for bucket in buckets]
        holdings = [Holding(there, manifest.entries) for there, manifest in zip(self._listings, self.manifests)]
        self.twins = twins_warning(buckets, self._listings)
        self.there: Mapping[str, Listed] = ChainMap(*self._listings)
        self.entries: Mapping[str, Entry] = overlay(holding.entries for holding in gather(holdings))
        self.engine = self._downloaders[0].engine

    def of(self, key: str) -> Downloader:
        """What reads a key that lies in some bucket."""
        return next(downloader for downloader, there in zip(self._downloaders, self._listings) if key in there)

    def look_again(self, key: str) -> Listed | None:
        """What lies under a key now, whichever bucket it is in; None when it is gone."""
        for downloader, there in zip(self._downloaders, self._listings):
            for listed in downloader.list(key):
                if listed.key == key:
                    there[key] = listed
                    return listed
            there.pop(key, None)
        return None
