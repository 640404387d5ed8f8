"""Statistics of runs over seeds: means, tests, effect sizes, a family against its control."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import optimize, special, stats


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


@dataclasses.dataclass(frozen=True)
class Contrast:
    """A sample of runs against the control's, one of a family of k.

    Attributes:
      difference: of the means, less the control's.
      interval: of it, by Welch's t at 1 - 0.05 / k (Bonferroni): all k hold together with 95 %.
      p: of Welch's test.
      holm: p corrected over the family.
      dunnett: p of Dunnett's test, which takes all variances as equal; on the logits of the values.
      not_worse: whether the whole interval lies above -margin.
      no_better: whether it lies below +margin: the control is enough.
    """

    difference: float
    interval: tuple[float, float]
    p: float
    holm: float
    dunnett: float
    not_worse: bool
    no_better: bool


def compare_with_control(
    control: Sequence[float], others: Mapping[str, Sequence[float]], margin: float
) -> dict[str, Contrast]:
    """Each sample against the control, as one family.

    Args:
      control: fractions from 0 to 1, one for each run.
      others: the same, by name.
      margin: the difference up to which a sample counts as not worse, set before the runs.

    Returns:
      By name; a sample that cannot be compared, of one run or without spread, is left out and does
      not count in k.
    """
    center = Summary.of(control)
    found = {name: compare(Summary.of(values), center) for name, values in others.items()}
    known = {name: result for name, result in found.items() if result is not None}
    if not known:
        return {}
    corrected = holm([result.welch.p for result in known.values()])
    dunnett = stats.dunnett(
        *(special.logit(_inside(others[name])) for name in known),
        control=special.logit(_inside(control)),
        rng=np.random.default_rng(0),  # its p-values are integrated by sampling
    ).pvalue
    contrasts = {}
    for (name, result), p, beside in zip(known.items(), corrected, dunnett, strict=True):
        # Half the width of the 95 % interval is t · its standard error.
        half = (result.interval[1] - result.interval[0]) / 2
        wider = stats.t.ppf(1 - 0.025 / len(known), result.welch.df)
        half *= float(wider / stats.t.ppf(0.975, result.welch.df))
        low, high = result.difference - half, result.difference + half
        contrasts[name] = Contrast(
            result.difference, (low, high), result.welch.p, p, float(beside),
            low > -margin, high < margin,
        )  # fmt: skip
    return contrasts


def _inside(values: Sequence[float]) -> np.ndarray:
    """Fractions kept off 0 and 1, whose logits are infinite."""
    return np.clip(np.asarray(values, float), 1e-4, 1 - 1e-4)


def fisher(yes: int, of: int, control_yes: int, control_of: int) -> float:
    """The two-sided p of Fisher's exact test that two shares are the same."""
    table = [[yes, of - yes], [control_yes, control_of - control_yes]]
    return float(stats.fisher_exact(table).pvalue)


@dataclasses.dataclass(frozen=True)
class Times:
    """When something came about in each of some runs, or until when it had not.

    Attributes:
      times: of the event, or of the end of a run without it.
      happened: which it is.
    """

    times: tuple[float, ...]
    happened: tuple[bool, ...]

    def _censored(self) -> stats.CensoredData:
        return stats.CensoredData.right_censored(self.times, ~np.array(self.happened))

    def median(self) -> float:
        """The Kaplan-Meier median; infinite where it happened in fewer than half of the runs."""
        survival = stats.ecdf(self._censored()).sf
        below = np.nonzero(np.asarray(survival.probabilities) <= 0.5 + 1e-12)[0]
        return float(survival.quantiles[below[0]]) if len(below) else math.inf

    def log_rank(self, other: "Times") -> float:
        """The two-sided p of the log-rank test against other runs; 1 where it happened in none."""
        if not any(self.happened + other.happened):
            return 1.0
        p = float(stats.logrank(self._censored(), other._censored()).pvalue)
        return 1.0 if math.isnan(p) else p
