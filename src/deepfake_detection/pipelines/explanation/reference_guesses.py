"""The reference recipe's guesses about its errors, checked by measures."""

import pandas as pd

# The guess, and the region and measure that should then be lower (-1) or higher (1) in the errors
_GUESSES = {
    "false negative": (
        ("blurred", "picture", "sharpness", -1),
        ("dark", "picture", "brightness", -1),
        ("with unclear eyes", "eyes", "sharpness", -1),
    ),
    # No measure here sees an open mouth; teeth beside a dark gap raise the contrast
    "false positive": (("with open mouths (contrast)", "mouth", "contrast", 1),),
}


def check_guesses(table: pd.DataFrame) -> str:
    """Whether each guess of the reference recipe holds, in one line.

    Args:
        table: As `compare_false_cases` gives it.
    """
    if table.empty:
        return "no picture could be measured"
    answers = []
    for kind, guesses in _GUESSES.items():
        of_kind = table[table["kind"] == kind]
        rows = {(row["region"], row["measure"]): row for _, row in of_kind.iterrows()}
        words = [
            f"{guess}: {_check(rows[region, measure], direction)}"
            for guess, region, measure, direction in guesses
        ]
        first = of_kind.iloc[0]
        answers.append(
            f"{kind}s ({first['n_false']} against {first['n_right']} right) {', '.join(words)}"
        )
    return "; ".join(answers)


def _check(row: pd.Series, direction: int) -> str:
    if row["differs"] == "too few":
        return "too few to say"
    effect = f"{row['effect']:.2f}, {row['corrected_low']:.2f} to {row['corrected_high']:.2f}"
    if row["differs"] == "no":
        return f"not shown ({effect})"
    holds = (row["effect"] > 0.5) == (direction > 0)
    return f"{'yes' if holds else 'the opposite'} ({effect})"
