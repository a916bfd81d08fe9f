import dataclasses
import json

import pytest
import torch

from bert_kit import BertConfig, ConfigError, create_model_config
from bert_kit.families import FAMILIES
from bert_kit.config_keys import ABOUT, CODE, IGNORED, LABELS, ONLY, SAME_ACTIVATION
from bert_kit.model.layers import activation


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


# ---- every key of a stranger's file: followed, of no effect, or refused

def theirs():
    return pytest.importorskip("transformers")


def test_every_key_of_the_library_has_a_place():
    """A key that a later version of the library adds fails here until someone decides."""
    own = {field.name for field in dataclasses.fields(BertConfig)} - {"labels", "fused", "extra"}
    placed = own | {*LABELS} | {*ABOUT} | {*ONLY} | {*IGNORED} | {*CODE}
    keys = {*theirs().BertConfig().to_dict(), *theirs().PretrainedConfig().to_dict()}
    for family, kind in (("distilbert", "DistilBert"), ("roberta", "Roberta"),
                         ("xlm-roberta", "XLMRoberta")):
        keys |= {FAMILIES[family].keys.get(key, key)
                 for key in getattr(theirs(), f"{kind}Config")().to_dict()}
    assert not keys - placed
    tables = [own, LABELS, ABOUT, ONLY, IGNORED, CODE]
    assert sum(map(len, tables)) == len(placed)  # each key has one place


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta", "XLMRoberta"])
def test_what_the_library_writes_by_default_is_read_whole(kind):
    values = getattr(theirs(), f"{kind}Config")().to_dict()
    config = BertConfig.from_dict(values)
    names = FAMILIES[values["model_type"]].keys
    fields = {names.get(key, key) for key in values} & {
        field.name for field in dataclasses.fields(BertConfig)}
    assert len(fields) > 10
    written = config.to_dict()
    for key, value in values.items():
        if names.get(key, key) in fields:
            assert written[key] == value, key
    # What a file leaves out means what the library takes then.
    short = BertConfig.from_dict({"model_type": values["model_type"]})
    assert short.replace(classifier_dropout=config.classifier_dropout) == config
    assert short.classifier_dropout == values.get("seq_classif_dropout")


@pytest.mark.filterwarnings("ignore")
def test_ignored_keys_change_no_number_of_the_library():
    """The same weights, with every key set to something, give the same logits there."""
    transformers = theirs()
    sizes = dict(vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=2,
                 intermediate_size=4, max_position_embeddings=8)
    texts = ("dtype", "torch_dtype", "prefix", "name_or_path", "pooler_type", "directionality",
             "finetuning_task", "transformers_version", "function_to_apply", "_name_or_path")
    values = {**dict.fromkeys(texts, "float32"), "tie_word_embeddings": False,
              "task_specific_params": {}, "bad_words_ids": [[1]], "attn_implementation": "eager"}
    of_a_call = ("_attn", "experts", "output", "return", "torchscript")
    changes = {key: values.get(key, True if "use" in key else 1) for key in IGNORED
               if not key.startswith(of_a_call)}
    logits = []
    for more in ({}, changes):
        torch.manual_seed(0)
        model = transformers.BertForSequenceClassification(
            transformers.BertConfig(**sizes, **more)).eval()
        logits.append(model(torch.tensor([[1, 2, 3, 4]])).logits)
    assert torch.allclose(*logits, atol=1e-6) and len(changes) > 40
    assert BertConfig.from_dict({**sizes, **changes}) == BertConfig.from_dict(sizes)


def test_other_names_of_an_activation_are_the_same_formula():
    activations = pytest.importorskip("transformers.activations").ACT2FN
    x = torch.linspace(-6, 6, 999)
    for name in activations:
        try:
            config = BertConfig.from_dict({"hidden_act": name})
        except ConfigError as error:
            assert "hidden_act" in str(error) and name in str(error)
            continue
        torch.testing.assert_close(activation(config)(x), activations[name](x), atol=1e-6, rtol=0)
    assert {*SAME_ACTIVATION} - {"gelu_python_tanh"} <= {*activations}


@pytest.mark.parametrize("values", [
    {"is_encoder_decoder": True}, {"add_cross_attention": True}, {"pruned_heads": {"0": [1]}},
    {"quantization_config": {"quant_method": "bitsandbytes"}}, {"hidden_act": "quick_gelu"},
    {"per_layer_config": {"0": {"hidden_size": 8}}}, {"tokenizer_class": "BertJapaneseTokenizer"},
    {"hidden_act": "gelu_10"}, {"position_embedding_type": "relative_key_query"},
    {"tokenizer_class": ["x"]}, {"hidden_act": ["gelu"]}])
def test_what_the_kit_does_not_do_is_refused_by_name(values):
    with pytest.raises(ConfigError, match=f"a/config.json: {next(iter(values))} is"):
        BertConfig.from_dict(values, "a/config.json")


def test_code_of_a_stranger_does_not_go_on():
    config = BertConfig.from_dict({"auto_map": {"AutoModel": "evil/repo--m.X"}, "note": "kept",
                                   "custom_pipelines": {"x": {"impl": "evil.X"}}})
    assert config.extra == {"note": "kept"}
    assert not {"auto_map", "custom_pipelines"} & {*config.to_dict()}


@pytest.mark.parametrize("values, labels", [
    ({"id2label": {"0": 0, "1": 1}}, ("0", "1")), ({"id2label": {1: "b", 0: "a"}}, ("a", "b")),
    ({"id2label": {"0": -1.5, "1": 2}}, ("-1.5", "2")), ({"label2id": {"x": "1", "y": 0}}, "yx"),
    ({"_num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
    ({"_num_labels": 3, "num_labels": 1}, ("LABEL_0",)),
    ({"_num_labels": 3, "id2label": {"0": "a"}}, ("a",)), ({"id2label": {"1": "b", "00": "a"}},
                                                          ("a", "b"))])
def test_forms_of_labels(values, labels):
    assert BertConfig.from_dict(values).labels == tuple(labels)


@pytest.mark.parametrize("values", [
    {"id2label": {"0": "a", "00": "b", "1": "c"}}, {"id2label": {"0": None}},
    {"id2label": [["0", "a"]]}, {"id2label": {"0": ["a"]}}, {"label2id": [1]},
    {"label2id": {"a": 0, "b": 0}}, {"label2id": {"a": None}}, {"id2label": {"0": 1, "1": "1"}},
    {"_num_labels": "3"}, {"id2label": {}}])
def test_labels_that_say_two_things_or_nothing(values):
    with pytest.raises(ConfigError):
        BertConfig.from_dict(values)
