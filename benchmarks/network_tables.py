"""Sections of ``benchmarks/README.md`` on real networks, memory and speed; ``tables.py`` puts them on the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pages import number, read, table

THESIS = """What the thesis recorded on MNIST (its notebooks and slides; accuracy on 256 images of one network):

| learner | @5 | @10 | @20 | @50 | @100 | @200 | accuracy @100 | halting step |
|---|---|---|---|---|---|---|---|---|
| LSTM (L2L), best of several | 1.52 | .99 | .664 | .54 | .43 to .48 | .38 | 88.4 % | - |
| M-ACT (Graves) | 1.63 | .95 | .632 | .52 | .47 | .41 | 87.9 to 88.3 % | 91 to 110, sd 0 to 0.4 |
| M-PACT (stick-breaking), nu .9 | 1.43 | .822 | .63 | .523 | .459 | | 86.7 % | 85.95 ± .22 |"""


def whole_test_set(name: str) -> str:
    result = read(name)
    rows = []
    for row in result["losses"]:
        steps = list(row["test_loss"])
        label = row["optimizer"] + (f", {len(row['seeds'])} seeds" if len(row["seeds"]) > 1 else "")
        losses = [number(row["test_loss"][step], 3) for step in steps]
        accuracies = [f"{row['accuracy'][step]:.1%}" for step in steps[-2:]]
        rows.append([label, *losses, *accuracies])
    head = ["optimizer", *(f"@{step}" for step in steps), *(f"accuracy @{step}" for step in steps[-2:])]
    return table(head, rows)


def halting(name: str) -> str:
    rows = []
    for learner, row in read(f"{name}-summaries").items():
        rows.append(
            [
                learner,
                f"{row['halting']['mean']:.1f} ± {row['halting']['sd']:.1f}",
                f"{row['halting']['min']:.0f} to {row['halting']['max']:.0f}",
                "-" if row["rank_correlation"] is None else number(row["rank_correlation"], 2),
                number(row["amortisation_gap"], 3),
            ]
        )
    head = ["posterior", "halting step, mean ± sd over problems", "range", "rank corr. with the MAP", "gap, nats"]
    return table(head, rows)


def taught() -> str:
    """Of the learners that were taught first: a row a training."""
    rows, networks = [], 0
    results = read("thesis-mnist")
    kept = {f"{name}-kept": f"{name}, rule kept" for name in ("stick-breaking", "graves")}
    for learner in ("lessons", "l2l", "stick-breaking", "graves", *kept):
        for seed, row in sorted(results[learner]["seeds"].items()):
            networks = row["networks"]
            losses = [number(row["test_loss"].get(step), 3) for step in ("5", "10", "20", "50", "100", "200")]
            training = row["training"]
            halting = number(training.get("mean_halting"), 3)
            accuracy = f"{row['accuracy']['100']:.1%}"
            rows.append(
                [
                    f"{kept.get(learner, learner)}, seed {seed}",
                    *losses,
                    accuracy,
                    halting,
                    f"{training['seconds'] / 60:.1f}",
                ]
            )
    head = ["learner", "@5", "@10", "@20", "@50", "@100", "@200", "accuracy @100", "E[t]", "minutes"]
    halted = [row for learner, name in kept.items() for row in halts(name, results[learner]["seeds"])]
    return f"""`python benchmarks/thesis_mnist.py`: the same LSTM, trained in three parts, each from where the one
before ended. *Lessons*: it is taught the steps of Nesterov momentum (rate .3) on recorded gradients. *l2l*: log loss,
an update every 20 of 100 steps. *stick-breaking*, *graves*: rule and halting posterior, on their own objective;
*rule kept*: the halting posterior alone. No training saw a test image. Mean over {networks} of the 20 networks; E[t]
under q on validation networks; minutes of this part alone, on a core that others used too.

What takes these learners to the thesis' figures is the lessons: an LSTM that makes Nesterov's steps, and is level with
the row *nag* above. Their own objective makes the first steps faster and the late ones worse. A row of *l2l* that is
equal to its lessons kept them, as nothing after them validated better. The halting posteriors that were trained with
their rules have had a few meta-steps and are near what they began with.

{table(head, rows)}

{rule_kept(results).format(table(["learner", *HALTS], halted))}"""


def rule_kept(results: dict[str, Any]) -> str:
    given, graves = (results[f"{name}-kept"]["trained_by"] for name in ("stick-breaking", "graves"))
    usual = results["graves"]["trained_by"]
    networks = results["graves-kept"]["seeds"]["0"]["halting"]["networks"]
    return f"""In the rows *rule kept* the rule stays the one that *l2l* ended with, bit for bit: their losses are
those of *l2l*. What is new is the halting posterior. It alone was trained, {given["meta_steps"]} meta-steps at rate
{given["lr"]:g} on its own objective; the rate was chosen on a few other networks, with seed 0. Graves' ponder cost is
{graves["ponder_cost"]:g} nats here, what a step costs stick-breaking, not {usual["ponder_cost"]:g}
as in the rows *graves* (the script says why). How the heads halt on {networks} held-out networks, mean ± standard
deviation over them:

{{}}

The exact MAP and the gap are those of the KL scale of training, as `halt-stats` has them. Graves' objective has none:
they are those of scale 1, and the two kinds of rows do not compare. Rank correlations are with the exact MAP; there is
none where q does not vary.

Stick-breaking's q has moved to where the exact posterior is, and nearly all of the gap is gone. It hardly follows the
single network: E[t] spreads far less than the MAP, and the rank correlations are so small that over so few networks
they can be chance. Graves' head runs to T on every network: E[t] is the mean of p(T), whatever the problem. The
thesis' M-ACT did likewise (sd 0 to 0.4, above). Its gap is that given T; what p(T) misses is not in it."""


HALTS = ["E[t] of the head at first", "E[t]", "mode of q", "exact MAP", "rank corr. of the mode", "of E[t]"]
HALTS += ["gap at first, nats", "gap, nats"]


def halts(name: str, seeds: dict[str, Any]) -> Iterator[list[str]]:
    """Of heads whose rule was kept: a row a training."""
    for seed, row in sorted(seeds.items()):
        found = row["halting"]
        moments = [f"{found[part]:.1f} ± {found[f'{part}_sd']:.1f}" for part in ("mean", "mode", "map")]
        of_mode, of_mean = (number(found[which], 2) for which in ("rank_correlation", "rank_correlation_of_mean"))
        correlations = [of_mode, of_mean if found["mean_sd"] >= 0.05 else "-"]
        before = found["before"]
        gaps = [number(each["amortisation_gap"], 3) for each in (before, found)]
        yield [f"{name}, seed {seed}", f"{before['mean']:.1f}", *moments, *correlations, *gaps]


def summaries(name: str) -> str:
    rows = []
    steps: list[str] = []
    for learner, row in read(f"{name}-summaries").items():
        steps = list(row["loss_at"])
        halting = f"{row['halting']['mean']:.1f} ± {row['halting']['sd']:.1f}"
        rate = f"adam, rate {row['adam_lr']:g} tuned for @{steps[-1]}"
        rows.append([f"lstm, {learner}", *(number(row["loss_at"][step]) for step in steps), halting])
        rows.append([rate, *(number(row["adam_loss_at"][step]) for step in steps), "-"])
    return table(["optimizer", *(f"@{step}" for step in steps), "best step in hindsight, mean ± sd"], rows)


def memory() -> str:
    rows = [
        [case, f"{row['peak_gb']:.2f}", f"{row['peak_gb'] - row['before_gb']:.2f}"]
        for case, row in read("memory").items()
    ]
    return table(["one meta-step", "peak, GB", "of which the meta-step, GB"], rows)


def beside_jax() -> str:
    found = read("speed-jax")
    cases = [case for case in found if case.startswith("L ")]
    rows = [
        [
            way,
            *(number(found[case][what][way], 3) for case in cases for what in ("ms_a_step", "times_jax")),
            f"{found[cases[-1]]['first_call_seconds'][way]:.1f} s",
        ]
        for way in found[cases[0]]["times_jax"]
    ]
    apart = max(found[case]["derivative_apart"][found[case]["fastest_in_jax"]] for case in cases)
    head = ["way", *(text for case in cases for text in (f"{case}: ms a step", "times as fast")), "first call"]
    return (
        f"**Beside JAX** {found['versions']['jax']} (`python benchmarks/speed_jax.py`; {found['problem']}; one core). "
        "The reference is the faster of two layouts, one `jit` of `lax.scan`. Derivatives of the weights are the same: "
        f"the largest difference is {apart:.0e} of their length.\n\n{table(head, rows)}"
    )


def speed() -> str:
    loop, elbo, peak, growth, compiled, processes = (
        read(f"speed-{question}") for question in ("loop", "elbo", "peak", "growth", "compiled", "processes")
    )
    rows = [
        [way, number(loop["ms_a_step"][way], 3), f"{loop['optimizee_steps_a_second'][way]:,.0f}", number(times, 3)]
        for way, times in loop["times_the_plain_loop"].items()
    ]
    head = ["way", "ms a step", "optimizee-steps a second", "times the plain loop"]
    threads = f"{loop['threads']} thread" + ("s" if loop["threads"] > 1 else "")
    plain, fused = loop["first_call_seconds"].values()
    parts = [
        f"**Loop** ({loop['problem']}, {threads}; first call {plain:.1f} s, compiled {fused:.0f} s). "
        "The reference is two `nn.LSTMCell` and autograd, without halting "
        f"features.\n\n{table(head, rows)}",
        beside_jax(),
    ]
    shares = [
        [name, number(row["ms"]["meta-step"], 3), *(f"{row['share'][part]:.1%}" for part in ("ELBO", "head and ELBO"))]
        for name, row in elbo.items()
        if isinstance(row, dict)
    ]
    parts.append(
        "**The ELBO's share** of a meta-step, there and back (quadratic, L 128, H 100):\n\n"
        + table(["estimator", "meta-step, ms", "ELBO", "with the halting head"], shares)
    )
    rows = [
        [way, number(peak["seconds_a_step"][way], 3), f"{peak['ns_a_coordinate'][way]:.0f}", f"{share:.1%}"]
        for way, share in peak["share_of_torch_mm"].items()
    ]
    parts.append(
        f"**Arithmetic** ({peak['problem']}): the LSTM's multiply-adds against `torch.mm` on 2,048 x 2,048 matrices "
        f"({peak['torch_mm_gflops']:.0f} GFLOP/s in the same run).\n\n"
        + table(["pass", "s a step", "ns a coordinate and step", "share of torch.mm"], rows)
    )
    rows = [
        [case, number(value, 3), number(growth["times_the_reference"][case], 3)]
        for case, value in growth["ms_a_step"].items()
    ]
    parts.append(
        f"**Growth** of the time of a step, the reference being {growth['reference']}:\n\n"
        + table(["case", "ms a step", "times the reference"], rows)
    )
    rows = []
    for size, row in compiled.items():
        if isinstance(row, dict):
            cells = [f"{row['ms_a_step'][way]:.3g} ({times:.2f})" for way, times in row["times_autograd"].items()]
            rows.append([size, *cells, f"{row['first_compiled_call_seconds']:.0f} s"])
    parts.append(
        "**Two LSTM cells**, forward and backward, ms a step (and times autograd):\n\n"
        + table(["size", "autograd", "torch.compile", "fused by hand", "first compiled call"], rows)
    )
    rows = []
    for size, row in processes.items():
        if isinstance(row, dict):
            seconds = [number(row["seconds_a_meta_step"][count], 3) for count in ("1", "2")]
            difference = f"{row['largest_difference_of_weights_after_20_meta_steps']:.1g}"
            rows.append([size, *seconds, number(row["times_one_process"], 3), difference])
    head = ["problems", "s a meta-step, one process", "two", "times one process", "largest difference of the weights"]
    parts.append(f"**Processes** ({processes['problem']}; weights after 20 meta-steps):\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def sections(stopping: str) -> str:
    """:param stopping: the stop rules on MNIST."""
    return f"""## Real networks

`python benchmarks/networks.py`: 784-20-10 sigmoid networks on MNIST, mean loss and accuracy over 20 new networks on the
whole test set; the LSTM (2 x 20) trained on 300 networks for 50 steps each, three seeds; baselines tuned for each step.

{whole_test_set("mnist")}

{THESIS}

{halting("mnist")}

{stopping}

### Taught first

{taught()}

CIFAR-10 (8,000 training and 2,000 test images; CNN of two convolutions, 11,642 parameters; L2L trained on 150 networks,
one seed; nats summed over the 64 held-out images of 16 new networks):

{summaries("cifar10")}

## Memory

`python benchmarks/memory.py`: resident memory of a process that makes one meta-step (LSTM 2 x 20, truncated at 20).

{memory()}

## Speed

`python benchmarks/speed.py`: ratios are medians within a run.

{speed()}
"""
