"""Data of the tasks of ``unseen.py``: images, tables and generated ones; training rows, then held-out rows."""

from __future__ import annotations

import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional as F

from probact.problems.data.sets import load

Rows = tuple[Tensor, ...]
Split = tuple[Rows, Rows]


def split(*columns: Tensor, every: int = 5) -> Split:
    """Every fifth row is held out."""
    held_out = torch.arange(len(columns[0])) % every == 0
    return tuple(column[~held_out] for column in columns), tuple(column[held_out] for column in columns)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def standardised(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / x.std(0)


def table(pair: tuple[object, object], classes: bool = False) -> Split:
    """scikit-learn's pair X, y: standardised features; classes, or standardised targets ``(n, 1)``."""
    X = standardised(torch.as_tensor(pair[0], dtype=torch.float32))
    y = torch.as_tensor(pair[1])
    order = torch.randperm(len(X), generator=seeded(1))
    return split(X[order], y.long()[order] if classes else standardised(y.float()).unsqueeze(-1)[order])


def images(name: str, pooled: int = 1, centred: bool = True) -> Split:
    """8,000 training and 1,000 test images ``(n, channels, side, side)``, each ``pooled`` square its mean."""
    data = load(name)
    (x, y), (test_x, test_y) = (
        (F.avg_pool2d(pixels[:num].float() / 255, pooled), labels[:num])
        for (pixels, labels), num in ((data.train, 8000), (data.test, 1000))
    )
    if not centred:
        return (x, y), (test_x, test_y)
    mean, std = x.mean(), x.std()
    return ((x - mean) / std, y), ((test_x - mean) / std, test_y)


# Sequences -----------------------------------------------------------------------------------------------------------


def drawn(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def peaked(*shape: int, sharpness: float, generator: torch.Generator) -> Tensor:
    """Random distributions over the last dimension."""
    return torch.softmax(sharpness * torch.randn(*shape, generator=generator), -1)


def next_symbols(text: Tensor, every: int = 10) -> Split:
    return split(text[:, :-1], text[:, 1:], every=every)


def markov_text(symbols: int, length: int, num: int, seed: int) -> Split:
    """Each symbol depends on the two before it."""
    generator = seeded(seed)
    follows = peaked(symbols, symbols, symbols, sharpness=2.0, generator=generator)
    text = list(torch.randint(symbols, (2, num), generator=generator))
    for _ in range(length - 1):
        text.append(drawn(follows[text[-2], text[-1]], generator))
    return next_symbols(torch.stack(text, 1))


def hidden_text(states: int, symbols: int, length: int, num: int, seed: int) -> Split:
    """A hidden Markov model: the symbols show a state that is not seen."""
    generator = seeded(seed)
    moves = peaked(states, states, sharpness=3.0, generator=generator)
    shows = peaked(states, symbols, sharpness=3.0, generator=generator)
    state, text = torch.randint(states, (num,), generator=generator), []
    for _ in range(length + 1):
        text.append(drawn(shows[state], generator))
        state = drawn(moves[state], generator)
    return next_symbols(torch.stack(text, 1))


def words_text(words: int, letters: int, length: int, num: int, seed: int) -> Split:
    """Words of two to six letters and a space, each word drawn by the one before; passages start anywhere."""
    generator = seeded(seed)
    sizes = torch.randint(2, 7, (words,), generator=generator).tolist()
    spelled = [[*torch.randint(1, letters, (size,), generator=generator).tolist(), 0] for size in sizes]
    follows = peaked(words, words, sharpness=2.0, generator=generator)
    text: list[int] = []
    word = torch.tensor(0)
    while len(text) < num * (length + 1):
        word = drawn(follows[word], generator)
        text += spelled[int(word)]
    return next_symbols(torch.tensor(text[: num * (length + 1)]).reshape(num, length + 1))


def adding(length: int, num: int, seed: int) -> Split:
    """Sequences of numbers, two of them marked, and the sum of the two."""
    generator = seeded(seed)
    values = torch.rand(num, length, generator=generator)
    marked = torch.rand(num, length, generator=generator).argsort(-1)[:, :2]
    marks = torch.zeros(num, length).scatter_(1, marked, 1.0)
    return split(torch.stack([values, marks], -1), (values * marks).sum(-1, keepdim=True))


# Tables that are made ------------------------------------------------------------------------------------------------


def ratings(users: int, items: int, rank: int, num: int, noise: float, seed: int) -> Split:
    """Pairs of a user and an item, and a noisy rating: biases and a product of ``rank`` traits."""
    generator = seeded(seed)
    user = torch.randint(users, (num,), generator=generator)
    item = torch.randint(items, (num,), generator=generator)
    left, right = (torch.randn(n, rank, generator=generator) / rank**0.25 for n in (users, items))
    of_user, of_item = (0.5 * torch.randn(n, generator=generator) for n in (users, items))
    exact = (left[user] * right[item]).sum(-1) + of_user[user] + of_item[item]
    return split(torch.stack([user, item], -1), exact.add(noise * torch.randn(num, generator=generator)).unsqueeze(-1))


def bags_of_words(words: int, length: int, topics: int, num: int, seed: int) -> Split:
    """Documents of ``length`` words, half of them from the topic's own distribution, and the topic."""
    generator = seeded(seed)
    of_topic = peaked(topics, words, sharpness=1.5, generator=generator)
    common = peaked(words, sharpness=1.5, generator=generator)
    topic = torch.randint(topics, (num,), generator=generator)
    return split(torch.multinomial((of_topic[topic] + common) / 2, length, True, generator=generator), topic)


def waves(num: int, seed: int) -> Split:
    generator = seeded(seed)
    x = torch.rand(num, 2, generator=generator) * 2 - 1
    return split(x, torch.sin(4 * x[:, :1]) * torch.cos(3 * x[:, 1:]) + 0.05 * torch.randn(num, 1, generator=generator))


def linear(num: int, condition: float, size: int, noise: float, seed: int) -> Split:
    """Targets linear in features whose second moments have the condition number ``condition``."""
    generator = seeded(seed)
    turn = torch.linalg.qr(torch.randn(size, size, generator=generator)).Q
    X = torch.randn(num, size, generator=generator) * torch.logspace(0, -0.5, size, base=condition) @ turn
    w = turn.T @ (torch.randn(size, generator=generator))
    return split(X, (X @ w).unsqueeze(-1) + noise * torch.randn(num, 1, generator=generator))


def scaled(pair: Split, largest: float) -> Split:
    """Features in units from 1 to ``largest``."""
    scale = torch.logspace(0, 1, pair[0][0].shape[-1], base=largest)
    (X, y), (held_out, labels) = pair
    return (X * scale, y), (held_out * scale, labels)


def between(low: float, high: float, num: int) -> Split:
    """Points of an interval: a grid to train on, the middles of its cells held out."""
    grid = torch.linspace(low, high, num).unsqueeze(-1)
    return (grid,), ((grid[1:] + grid[:-1]) / 2,)


# Few rows, wrong labels ----------------------------------------------------------------------------------------------


def classification(num: int, features: int, informative: int, classes: int, seed: int) -> Split:
    """scikit-learn's clusters at corners of a cube, some labels of which are wrong already."""
    pair = datasets.make_classification(
        num, features, n_informative=informative, n_classes=classes, flip_y=0.05, random_state=seed
    )
    return table(pair, classes=True)


def first(pair: Split, num: int) -> Split:
    """The first ``num`` training rows."""
    rows, held_out = pair
    return tuple(column[:num] for column in rows), held_out


def wrong(pair: Split, share: float, classes: int, seed: int) -> Split:
    """So many of the training labels drawn again; those held out stay right."""
    (x, y), held_out = pair
    generator = seeded(seed)
    drawn_again = torch.rand(len(y), generator=generator) < share
    return (x, torch.where(drawn_again, torch.randint(classes, y.shape, generator=generator), y)), held_out


def zipf_bags(words: int, length: int, topics: int, num: int, seed: int) -> Split:
    """Documents of words whose frequencies fall as 1 / rank, and the topic, to which a third of the words belongs;
    with 0 topics a number ``(n, 1)`` that is the mean of hidden ones of its words, with noise.
    """
    generator = seeded(seed)
    often = 1 / torch.arange(1, words + 1, dtype=torch.float32)
    if not topics:
        text = torch.multinomial(often.expand(num, -1), length, True, generator=generator)
        score = torch.randn(words, generator=generator)[text].mean(-1, keepdim=True) * length**0.5
        return split(text, score + 0.3 * torch.randn(num, 1, generator=generator))
    of_topic = often * torch.rand(topics, words, generator=generator).exp().square()
    topic = torch.randint(topics, (num,), generator=generator)
    odds = torch.where(torch.rand(words, generator=generator) < 1 / 3, of_topic[topic], often)
    return split(torch.multinomial(odds, length, True, generator=generator), topic)
