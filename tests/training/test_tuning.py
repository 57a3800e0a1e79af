"""What is tuned, at which rate, and that the rest stays as it is."""

import pytest
import torch
from training_samples import TRAIN, VALIDATION, fit, make_network, make_trainer, make_training

from deepfake_detection.models.backbones import build_backbone
from deepfake_detection.models.network_blocks import list_blocks
from deepfake_detection.training.loop import train_network
from deepfake_detection.training.tuning import freeze, group_parameters

# of the small network: convolution 0, batch norm 1, head 5
LEARNS = {"all": {"0", "1", "5"}, "head": {"5"}, "norm": {"1", "5"}, "last": {"0", "1", "5"}}


@pytest.mark.parametrize("layers", LEARNS)
@pytest.mark.parametrize("ema", [None, 0.9])
def test_layers_that_are_not_tuned_stay_the_same_to_the_bit(layers, ema):
    before = {name: value.clone() for name, value in make_network().state_dict().items()}
    result = fit(
        network := make_network(),
        tune={"layers": layers, "blocks": 1},
        ema=ema,
        epochs=2,
        optimizer={"name": "adamw", "weight_decay": 0.1},
    )
    for state in (network.state_dict(), result.best_weights):
        changed = {
            name.split(".")[0] for name in before if not torch.equal(before[name], state[name])
        }
        assert changed == LEARNS[layers]


def _network(model="resnet18"):
    return build_backbone(model, {}, transform_input=False)


@pytest.mark.parametrize(
    ("model", "layers", "blocks", "first"),
    [
        ("resnet18", "last", 2, "layer4.0.conv1.weight"),
        ("resnet18", "last", 5, "layer2.1.conv1.weight"),
        ("resnet18", "norm", 1, "bn1.weight"),
        ("resnet18", "head", 1, "fc.weight"),
        ("vit_b_16", "last", 1, "encoder.layers.encoder_layer_11.ln_1.weight"),
        ("vit_b_16", "norm", 1, "encoder.layers.encoder_layer_0.ln_1.weight"),
        ("inception_v3", "head", 1, "AuxLogits.fc.weight"),
    ],
)
def test_the_first_parameter_that_learns(model, layers, blocks, first):
    network, heads = _network(model)
    freeze(network, heads, make_training(tune={"layers": layers, "blocks": blocks}).tune)
    learning = [name for name, value in network.named_parameters() if value.requires_grad]
    assert learning[0] == first
    if layers == "norm":
        # a few thousandths, as in the papers
        total = sum(value.numel() for value in network.parameters())
        assert sum(network.get_parameter(name).numel() for name in learning) < 0.005 * total


@pytest.mark.parametrize("model", ["resnet18", "vit_b_16"])
def test_rates_fall_from_block_to_block_and_norms_have_no_decay(model):
    training = make_training(
        tune={"layer_decay": 0.5},
        optimizer={"name": "adamw", "lr": 0.1, "weight_decay": 0.2, "decay_norms": False},
    )
    network, heads = _network(model)
    backbone, head = group_parameters(network, heads, training.tune, training.optimizer)
    found = {
        id(value): (group["lr"], group["weight_decay"])
        for group in [*backbone, *head]
        for value in group["params"]
    }
    blocks = list_blocks(network, heads)
    for name, value in network.named_parameters():
        rate, decay = found.pop(id(value))
        assert decay == (0 if value.ndim == 1 else 0.2)
        if name.startswith(tuple(f"{each}." for each in heads)):
            assert rate == pytest.approx(0.3)
            continue
        at = next(
            (at for at, block in enumerate(blocks)
             if name.startswith(tuple(f"{each}." for each in block))), 0,
        )  # fmt: skip
        assert rate == pytest.approx(0.1 * 0.5 ** (len(blocks) - 1 - at))
    assert not found


def test_the_reference_has_two_groups_in_the_order_of_the_network():
    network, heads = _network()
    training = make_training()
    (backbone,), (head,) = group_parameters(network, heads, training.tune, training.optimizer)
    assert [*backbone["params"], *head["params"]] == [*network.parameters()]


def test_batches_that_are_added_up_are_one_larger_batch():
    """Without batch norm, whose statistics are those of each batch."""
    histories = []
    for size, accumulate in ((8, 1), (2, 4)):
        training = make_training(
            batch_size=size, epochs=3, shuffle=False, precision="fp32",
            optimizer={"name": "sgd", "accumulate": accumulate},
            augmentation={"flip": 0.0, "rotation": 0},
        )  # fmt: skip
        trainer = make_trainer(
            make_network(normalised=False), training, pictures=(TRAIN, VALIDATION)
        )
        histories.append(train_network(trainer, training).history)
    for whole, added in zip(*histories, strict=True):
        assert added.validation_loss == pytest.approx(whole.validation_loss, rel=1e-4)


def test_gradients_are_clipped_to_the_norm():
    training = make_training(optimizer={"name": "sgd", "lr": 1.0, "head_lr_multiple": 1,
                                        "momentum": 0.0, "clip_norm": 1e-3}, epochs=1)  # fmt: skip
    network = make_network()
    before = [value.detach().clone() for value in network.parameters()]
    trainer = make_trainer(network, training)
    trainer.train(1)
    steps = -(-len(TRAIN) // 8)
    moved = torch.cat([
        (now.detach() - then).flatten()
        for now, then in zip(network.parameters(), before, strict=True)
    ])  # fmt: skip
    assert 0 < moved.norm() <= 1e-3 * steps * 1.001
