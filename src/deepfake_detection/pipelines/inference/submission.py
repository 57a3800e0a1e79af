"""The submission file of a competition or a course."""

from pathlib import PurePosixPath

import pandas as pd
from natsort import natsort_keygen, ns

from deepfake_detection.errors import UserError
from deepfake_detection.parameters import SubmissionParameters


def make_submission(scores: pd.DataFrame, submission: SubmissionParameters) -> pd.DataFrame:
    """Make a row for each image, in natural order of the names.

    Args:
        scores: path, verdict (real, fake, or None for an unreadable image).
        submission: Names of the columns, and the value of each verdict.

    Raises:
        UserError: If two images would have the same name.
    """
    names = [_name(path, submission.name) for path in scores["path"]]
    answers = [
        {"real": submission.real, "fake": submission.fake}.get(verdict, submission.unreadable)
        for verdict in scores["verdict"].astype(object)
    ]
    table = pd.DataFrame(
        # as objects: a column may hold both integers and text
        {
            submission.name_column: pd.Series(names, dtype=object),
            submission.value_column: pd.Series(answers, dtype=object),
        }
    )
    _check_names(table[submission.name_column], scores["path"])
    order = table[submission.name_column].map(natsort_keygen(alg=ns.PATH)).argsort(kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _name(path: str, kind: str) -> str:
    pure = PurePosixPath(path)
    return {"path": path, "name": pure.name, "stem": pure.stem}[kind]


def _check_names(names: pd.Series, paths: pd.Series) -> None:
    twice = names.duplicated(keep=False)
    if twice.any():
        first = names[twice].iloc[0]
        same = paths[(names == first).to_numpy()].tolist()
        raise UserError(
            f"parameter 'inference.submission.name': {same[0]} and {same[1]} would both be called "
            f"{first}. Set it to name or path, or score a folder without the other."
        )
