import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from deepfake_detection.images.fingerprints import fingerprint_of_split, pack_hashes, unpack_hashes

hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
SPLIT = pd.DataFrame(
    {
        "path": ["real/0.png", "real/1.png", "fake/0.png"],
        "sha256": ["a" * 64, "b" * 64, "c" * 64],
        "label": [0, 0, 1],
        "subset": ["train", "validation", "train"],
    }
)


def test_a_split_s_fingerprint_is_of_its_images_labels_and_subsets():
    own = fingerprint_of_split(SPLIT)
    assert fingerprint_of_split(SPLIT[::-1].assign(path="elsewhere")) == own
    for column, value in (("sha256", "d" * 64), ("label", 1), ("subset", "test")):
        other = SPLIT.copy()
        other.loc[0, column] = value
        assert fingerprint_of_split(other) != own
    assert fingerprint_of_split(SPLIT[:2]) != own


@given(st.lists(hashes))
def test_hashes_are_packed_without_loss(sha256s):
    packed = pack_hashes(sha256s)
    assert packed.shape == (len(sha256s), 32)
    assert unpack_hashes(packed) == set(sha256s)
