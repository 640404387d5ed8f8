"""Statistics of runs over seeds: means, t-tests, effect sizes, and Holm's correction."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats


@dataclasses.dataclass(frozen=True)
class Summary:
    """Some values, fractions from 0 to 1, in three numbers.

    Attributes:
      mean: of the values.
      std: with n - 1; NaN for a single value.
      n: how many.
    """

    mean: float
    std: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """The summary of at least one value."""
        std = statistics.stdev(values) if len(values) > 1 else math.nan  # exactly 0 where all agree
        return cls(statistics.fmean(values), std, len(values))

    def interval(self) -> tuple[float, float]:
        """The mean's 95 % interval by Student's t, kept within 0 to 1; NaN for a single value."""
        if self.n < 2:
            return math.nan, math.nan
        half = float(stats.t.ppf(0.975, self.n - 1)) * self.std / math.sqrt(self.n)
        return max(0.0, self.mean - half), min(1.0, self.mean + half)


@dataclasses.dataclass(frozen=True)
class TTest:
    """A two-sided t-test.

    Attributes:
      t: the statistic.
      df: the degrees of freedom.
      p: the probability of so large a |t| without a difference.
    """

    t: float
    df: float
    p: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two samples of runs against each other.

    Attributes:
      difference: of the means, first minus second.
      interval: of the difference, 95 %, by Welch's t.
      student: the unpaired t-test with pooled variance (thesis, chapter 4).
      welch: the same without the assumption of equal variances.
      effect: Hedges' g, the difference in pooled standard deviations, corrected for small n.
      effect_interval: of the true effect, 95 %, from the noncentral t distribution.
    """

    difference: float
    interval: tuple[float, float]
    student: TTest
    welch: TTest
    effect: float
    effect_interval: tuple[float, float]


def compare(first: Summary, second: Summary) -> Comparison | None:
    """Compares two samples by their summaries; None where there is no spread to compare with.

    That is so where a sample has a single value, or neither varies.

    The effect size is that of Hedges (1981), its interval that of Steiger and Fouladi (1997).
    """
    if min(first.n, second.n) < 2 or first.std == second.std == 0:
        return None
    a, b = dataclasses.astuple(first), dataclasses.astuple(second)
    student = stats.ttest_ind_from_stats(*a, *b)
    welch = stats.ttest_ind_from_stats(*a, *b, equal_var=False)
    df = first.n + second.n - 2
    variances = first.std**2 / first.n, second.std**2 / second.n
    welch_df = sum(variances) ** 2 / (
        variances[0] ** 2 / (first.n - 1) + variances[1] ** 2 / (second.n - 1)
    )
    difference = first.mean - second.mean
    half = stats.t.ppf(0.975, welch_df) * math.sqrt(sum(variances))
    scale = math.sqrt(1 / first.n + 1 / second.n)  # d = t · scale
    # Hedges' correction, exactly; by log-gamma, which does not overflow for many runs.
    log_gamma = math.lgamma
    correction = math.exp(log_gamma(df / 2) - log_gamma((df - 1) / 2)) / math.sqrt(df / 2)
    t = float(student.statistic)
    low, high = noncentrality_interval(t, df)
    return Comparison(
        difference,
        (float(difference - half), float(difference + half)),
        TTest(t, df, float(student.pvalue)),
        TTest(float(welch.statistic), welch_df, float(welch.pvalue)),
        t * scale * correction,
        (low * scale, high * scale),
    )


def detectable(std: float, n: int, power: float = 0.8) -> float:
    """The true difference of means that a two-sided t-test at 5 % finds in `power` of all studies.

    Args:
      std: the standard deviation within each of two groups.
      n: the runs in each, at least 2.
      power: the share of studies.

    Returns:
      In the unit of `std`; 0 where nothing varies.
    """
    df = 2 * n - 2
    critical = float(stats.t.ppf(0.975, df))

    scaled = critical * _spreads(df)

    def found(noncentrality: float) -> float:
        missed = stats.norm.cdf(scaled - noncentrality) - stats.norm.cdf(-scaled - noncentrality)
        return 1 - float(missed.mean()) - power

    return std * math.sqrt(2 / n) * float(optimize.brentq(found, 0.0, 10 * critical + 10))


def noncentrality_interval(t: float, df: float) -> tuple[float, float]:
    """The noncentralities of which `t` is the 97.5 % and the 2.5 % point: a 95 % interval."""
    scaled = t * _spreads(df)

    def solve(probability: float) -> float:
        width = 10 * math.sqrt(1 + t * t / df)  # ten times its standard error, at least
        return float(
            optimize.brentq(
                lambda noncentrality: stats.norm.cdf(scaled - noncentrality).mean() - probability,
                t - width,
                t + width,
            )
        )

    return solve(0.975), solve(0.025)


def _spreads(df: float) -> np.ndarray:
    """Equally likely values of s = √(χ²/df), the estimated over the true deviation.

    P(T ≤ t) is the mean of Φ(t·s − noncentrality) over them; scipy's own function gives NaN far out
    in the tails.
    """
    shares = (np.arange(10_000) + 0.5) / 10_000
    return np.sqrt(stats.chi2.ppf(shares, df) / df)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's step-down method (1979), in the same order."""
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    corrected = np.empty(len(p_values))
    corrected[order] = stepped
    return corrected.tolist()
