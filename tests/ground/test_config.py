import json

import pytest

from bert_kit import BertConfig, ConfigError, create_model_config


@pytest.mark.parametrize("name, layers, width, heads, inner, vocabulary", [
    ("bert-tiny", 2, 128, 2, 512, 30_522),
    ("bert-mini-uncased", 4, 256, 4, 1_024, 30_522),
    ("bert-small-uncased (29M)", 4, 512, 8, 2_048, 30_522),
    ("bert-medium-cased", 8, 512, 8, 2_048, 28_996),
    ("bert-base-uncased (110M)", 12, 768, 12, 3_072, 30_522),
    ("bert-base-cased", 12, 768, 12, 3_072, 28_996),
    ("bert-large-uncased (340M)", 24, 1_024, 16, 4_096, 30_522),
])
def test_presets_have_the_published_sizes(name, layers, width, heads, inner, vocabulary):
    config = create_model_config(name)
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
            config.intermediate_size, config.vocab_size) == (layers, width, heads, inner,
                                                             vocabulary)
    assert config.layer_norm_eps == 1e-12


@pytest.mark.parametrize("name", ["bert-huge", "gpt2", "", "bert-base-uncased(110M) x", None])
def test_an_unknown_preset_lists_the_sizes(name):
    with pytest.raises(ConfigError, match="tiny, mini, small, medium, base, large"):
        create_model_config(name)


@pytest.mark.parametrize("changes, parts", [
    (dict(hidden_size=30, num_attention_heads=4), ["hidden_size 30", "num_attention_heads 4"]),
    (dict(vocab_size=5, pad_token_id=5), ["pad_token_id 5", "vocab_size 5"]),
    (dict(hidden_size=10**9), ["hidden_size", "1000000000", "65,536"]),
    (dict(num_hidden_layers=2.0), ["num_hidden_layers", "2.0"]),
    (dict(num_hidden_layers=True), ["num_hidden_layers", "True"]),
    (dict(vocab_size="many"), ["vocab_size", "'many'"]),
    (dict(hidden_dropout_prob=1.5), ["hidden_dropout_prob", "1.5"]),
    (dict(classifier_dropout=-1), ["classifier_dropout", "-1"]),
    (dict(layer_norm_eps=0), ["layer_norm_eps", "0"]),
    (dict(hidden_act="swish"), ["hidden_act", "'swish'", "gelu_new"]),
    (dict(labels=()), ["labels", "0"]),
    (dict(labels=("a", "a")), ["labels", "twice"]),
    (dict(labels=("a", 3)), ["labels", "string"]),
    (dict(labels="ab"), ["labels", "'ab'"]),
    (dict(labels=5), ["labels", "5"]),
    (dict(fused="no"), ["fused", "'no'"]),
    (dict(num_labels=3, labels=("a", "b")), ["num_labels is 3", "2 names"]),
    (dict(wide=3), ["'wide'", "hidden_size"]),
    (dict(classifier="cnn"), ["classifier", "'cnn'", "mapping"]),
    (dict(classifier={"kernel_sizes": [3]}), ["classifier", "type", "None"]),
    (dict(classifier={"type": 3}), ["classifier", "type", "3"]),
    (dict(classifier={"type": "cnn", 3: 4}), ["classifier", "key 3"]),
    (dict(classifier={"type": "cnn", "rate": float("nan")}), ["rate is nan"]),
    (dict(classifier={"type": "cnn", "sizes": {3, 4}}), ["sizes is {3, 4}", "list"]),
])
def test_impossible_values_name_the_field_and_both_numbers(changes, parts):
    with pytest.raises(ConfigError) as caught:
        BertConfig().replace(**changes)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_number_of_labels_keeps_fitting_names():
    config = BertConfig(labels=("ham", "spam"))
    assert config.replace(num_labels=2).labels == ("ham", "spam")
    assert config.replace(num_labels=3).labels == ("LABEL_0", "LABEL_1", "LABEL_2")


def test_config_json_round_trip_keeps_unknown_keys(tmp_path):
    config = BertConfig(labels=("b", "a", "ü"), classifier_dropout=0.3,
                        extra={"my_key": [1, {"x": None}], "architectures": ["BertModel"]})
    config.save(tmp_path)
    again = BertConfig.load(tmp_path)
    assert again == config and again.extra == config.extra
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["id2label"] == {
        "0": "b", "1": "a", "2": "ü"}


def test_the_classifier_is_kept_as_a_plain_copy(tmp_path):
    sizes = [3, 4]
    config = BertConfig(classifier={"type": "cnn", "kernel_sizes": sizes, "x": (1, None)})
    sizes.append(5)
    assert config.classifier == {"type": "cnn", "kernel_sizes": [3, 4], "x": [1, None]}
    assert config.replace(num_labels=5).classifier == config.classifier != {}
    assert config != BertConfig() and len({config, BertConfig(), BertConfig()}) == 2
    config.save(tmp_path)
    assert BertConfig.load(tmp_path) == config
    standard = config.replace(classifier={"type": "standard"})
    assert standard == BertConfig() and "classifier" not in standard.to_dict()
    assert BertConfig.from_dict({"classifier": None}) == BertConfig()


@pytest.mark.parametrize("values, part", [
    ({"classifier": {"kernel_sizes": 3}}, "classifier has the type None"),
    ({"model_type": "gpt2"}, "model_type"),
    ({"position_embedding_type": "relative_key"}, "position_embedding_type"),
    ({"is_decoder": True}, "is_decoder"),
    ({"id2label": {"0": "a", "2": "b"}}, "id2label"),
    ({"id2label": ["a"]}, "id2label"),
    ({"id2label": {"x": "a"}}, "id2label"),
    ({"num_labels": 10**9}, "num_labels"),
    ({"hidden_size": 31}, "hidden_size 31"),
])
def test_a_foreign_config_is_refused_with_its_file_name(tmp_path, values, part):
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ConfigError, match=part) as caught:
        BertConfig.load(tmp_path)
    assert "config.json" in str(caught.value)


def test_other_forms_of_labels_are_read():
    numbers = {str(number): number for number in range(3)}
    assert BertConfig.from_dict({"id2label": numbers, "label2id": numbers}).labels == (
        "0", "1", "2")
    assert len(BertConfig.from_dict({"_num_labels": 3}).labels) == 3
    assert len(BertConfig.from_dict({"_num_labels": 3, "num_labels": 4}).labels) == 4


def test_old_forms_of_labels_are_read():
    assert BertConfig.from_dict({"num_labels": 3}).num_labels == 3
    assert BertConfig.from_dict({"label2id": {"x": 1, "y": 0}}).labels == ("y", "x")
    assert BertConfig.from_dict({"pad_token_id": None}).pad_token_id == 0


def test_transformers_reads_and_writes_the_same_file(tmp_path):
    transformers = pytest.importorskip("transformers")
    ours = create_model_config("bert-mini", labels=("x", "y", "z"), vocab_size=77)
    ours.save(tmp_path)
    theirs = transformers.BertConfig.from_pretrained(tmp_path)
    assert (theirs.hidden_size, theirs.vocab_size, theirs.num_labels) == (256, 77, 3)
    assert theirs.id2label == ours.id2label
    theirs.save_pretrained(tmp_path / "back")
    assert BertConfig.load(tmp_path / "back") == ours
