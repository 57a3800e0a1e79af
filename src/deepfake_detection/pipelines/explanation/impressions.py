"""What the reference guessed of its false cases by eye, answered by measures."""

import pandas as pd

# The reference's words, and the measure that should then be lower (-1) or higher (1) in false cases
_IMPRESSIONS = {
    "false negative": (
        ("blurred", "picture", "sharpness", -1),
        ("dimmed", "picture", "brightness", -1),
        ("with unclear eyes", "eyes", "sharpness", -1),
    ),
    # Nothing here sees whether a mouth is open; teeth beside a dark gap give it more contrast
    "false positive": (("with open mouths, by the contrast there", "mouth", "contrast", 1),),
}


def answer_impressions(table: pd.DataFrame) -> str:
    """Whether false negatives are blurred, dimmed, unclear about the eyes, and so on, in one line.

    Args:
        table: As `compare_false_cases` gives it.
    """
    if table.empty:
        return "no picture could be measured"
    answers = []
    for kind, impressions in _IMPRESSIONS.items():
        of_kind = table[table["kind"] == kind]
        rows = {(row["region"], row["measure"]): row for _, row in of_kind.iterrows()}
        said = [
            f"{words}: {_answer(rows[region, measure], direction)}"
            for words, region, measure, direction in impressions
        ]
        first = of_kind.iloc[0]
        answers.append(
            f"{kind}s ({first['n_false']} against {first['n_right']} right) {', '.join(said)}"
        )
    return "; ".join(answers)


def _answer(row: pd.Series, direction: int) -> str:
    if row["differs"] == "too few":
        return "too few to say"
    ends = f"{row['effect']:.2f}, {row['corrected_low']:.2f} to {row['corrected_high']:.2f}"
    if row["differs"] == "no":
        return f"not shown ({ends})"
    as_said = (row["effect"] > 0.5) == (direction > 0)
    return f"{'yes' if as_said else 'the opposite'} ({ends})"
