"""Sound to cepstral coefficients, in JAX: frames, power spectrum, mel bands, decibels, cosines.

One second of sound becomes 39 frames of 13 coefficients, the layout of the Written and Spoken
Digits Database (Khacef et al. 2020): windows of 50 ms that begin every 25 ms, none of which reaches
beyond the second. The definitions are librosa's (Slaney's mel scale, 80 dB of range), and a test
holds them to it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

SECONDS = 1.0
WINDOW_SECONDS, HOP_SECONDS = 0.05, 0.025
NUM_MEL_BANDS = 40
NUM_COEFFICIENTS = 13
NUM_FRAMES = 39
_FLOOR = 1e-10  # of the power, as librosa's power_to_db
_RANGE_DB = 80.0  # below a recording's loudest band
_AT_ONCE = 256  # recordings in a call


def fit(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """A recording's first second, [S] → [`sample_rate`]: cut at its end, or zeros added there."""
    length = round(SECONDS * sample_rate)
    return np.pad(wave[:length], (0, max(0, length - len(wave))))


def _hertz(mel: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear to 1 kHz (15 mel), then 27 mel for each factor of 6.4."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@functools.cache
def mel_filters(sample_rate: int) -> np.ndarray:
    """Triangular bands of equal area over the frequencies of a window, float32 [bins, bands]."""
    top = sample_rate / 2
    top_mel = 15 + 27 * np.log(top / 1000) / np.log(6.4) if top >= 1000 else top * 3 / 200
    corners = _hertz(np.linspace(0, top_mel, NUM_MEL_BANDS + 2))
    size = round(WINDOW_SECONDS * sample_rate)
    hertz = np.fft.rfftfreq(size, 1 / sample_rate)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * 2 / (high - low)).astype(np.float32)


@functools.cache
def _cosines() -> np.ndarray:
    """The orthonormal DCT-II, float32 [bands, coefficients]."""
    k, n = np.arange(NUM_COEFFICIENTS), np.arange(NUM_MEL_BANDS)[:, None]
    found = np.sqrt(2 / NUM_MEL_BANDS) * np.cos(np.pi * k * (n + 0.5) / NUM_MEL_BANDS)
    found[:, 0] /= np.sqrt(2)
    return found.astype(np.float32)


def log_mel(waves: jax.Array, sample_rate: int) -> jax.Array:
    """The mel spectrogram in decibels.

    Hann windows of 50 ms every 25 ms, without padding; the power of each in `NUM_MEL_BANDS` bands
    from 0 Hz to half the sample rate; at most 80 dB below the recording's loudest.

    Args:
      waves: float32 [B, S], -1 to 1, S samples: one second.
      sample_rate: Hz.

    Returns:
      float32 [B, 39, `NUM_MEL_BANDS`].
    """
    size, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    starts = np.arange(0, waves.shape[1] - size + 1, hop)
    window = np.hanning(size + 1)[:-1].astype(np.float32)  # periodic
    frames = waves[:, starts[:, None] + np.arange(size)] * window  # (B, 39, size)
    spectrum = jnp.fft.rfft(frames)
    power = spectrum.real**2 + spectrum.imag**2  # (B, 39, bins)
    bands = jnp.einsum("btf,fm->btm", power, mel_filters(sample_rate), precision="highest")
    decibels = 10 * jnp.log10(jnp.maximum(bands, _FLOOR))
    return jnp.maximum(decibels, decibels.max(axis=(1, 2), keepdims=True) - _RANGE_DB)


@functools.partial(jax.jit, static_argnums=1)
def mfcc(waves: jax.Array, sample_rate: int) -> jax.Array:
    """Mel-frequency cepstral coefficients: the first 13 of the DCT-II over the bands of `log_mel`.

    Args:
      waves: float32 [B, S], -1 to 1, S samples: one second.
      sample_rate: Hz.

    Returns:
      float32 [B, 39, 13].
    """
    return jnp.einsum("btm,mc->btc", log_mel(waves, sample_rate), _cosines(), precision="highest")


def mfcc_of(waves: np.ndarray, sample_rate: int) -> np.ndarray:
    """`mfcc` of any number of recordings, some hundreds at a time.

    Args:
      waves: int16 [M, S], S samples: one second.
      sample_rate: Hz.

    Returns:
      float32 [M, 39, 13], in host memory.
    """
    found = []
    for start in range(0, len(waves), _AT_ONCE):
        part = waves[start : start + _AT_ONCE]
        filled = np.pad(part, ((0, _AT_ONCE - len(part)), (0, 0)))  # one shape, one program
        found.append(np.asarray(mfcc(filled.astype(np.float32) / 2**15, sample_rate))[: len(part)])
    return np.concatenate(found)
