"""Writes tests/fixtures/deberta/<variant>/: tiny ForSequenceClassification checkpoints of Transformers (DeBERTa, BERT,
RoBERTa, XLM-RoBERTa, ModernBERT) with random weights and a Unigram tokenizer as DeBERTa-v3's, and
tests/fixtures/deberta/expected.json with their tokens and logits.

    python tests/peers/deberta.py          (pip install transformers tokenizers torch)

Of each variant only config.json is written; the weights come from the generator of fixtures.py, by sorted name.
The first is also saved whole, as a checkpoint is downloaded.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

MASK = (1 << 64) - 1
FOLDER = Path(__file__).parent.parent / "fixtures" / "deberta"
COMMON = dict(
    hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, max_position_embeddings=40,
)  # fmt: skip
DEBERTA = dict(type_vocab_size=0, layer_norm_eps=1e-7)
VARIANTS = {
    # As deberta-v3-xsmall: shared keys, buckets, normed positions, both relative terms.
    "v3": dict(DEBERTA, relative_attention=True, position_biased_input=False, pos_att_type="p2c|c2p", position_buckets=6,
               norm_rel_ebd="layer_norm", share_att_key=True, max_relative_positions=-1),
    "own-keys": dict(DEBERTA, relative_attention=True, position_biased_input=True, pos_att_type=["c2p"], position_buckets=-1,
                     max_relative_positions=9, share_att_key=False, type_vocab_size=2, hidden_act="gelu_new"),
    "p2c": dict(DEBERTA, relative_attention=True, position_biased_input=False, pos_att_type=["p2c"], position_buckets=8,
                share_att_key=False, embedding_size=8, pooler_hidden_act="tanh", num_labels=3),
    "absolute": dict(DEBERTA, relative_attention=False, position_biased_input=True),
    "bert": dict(kind="bert"),
    "bert-relu": dict(kind="bert", hidden_act="relu", num_labels=1, layer_norm_eps=1e-5),
    "roberta": dict(kind="roberta", pad_token_id=1, max_position_embeddings=50, type_vocab_size=1, num_labels=3),
    "xlm-roberta": dict(kind="xlm-roberta", pad_token_id=1, hidden_act="gelu_new", type_vocab_size=1),
    # A window of four to each side in layers 1 and 2.
    "modern-cls": dict(kind="modern", num_hidden_layers=4, local_attention=8),
    "modern-mean": dict(kind="modern", num_hidden_layers=3, local_attention=6, classifier_pooling="mean",
                        layer_types=["full_attention", "sliding_attention", "full_attention"], num_labels=4),
}  # fmt: skip
KINDS = {
    "deberta": (DebertaV2Config, DebertaV2ForSequenceClassification),
    "bert": (BertConfig, BertForSequenceClassification),
    "roberta": (RobertaConfig, RobertaForSequenceClassification),
    "xlm-roberta": (XLMRobertaConfig, XLMRobertaForSequenceClassification),
    "modern": (ModernBertConfig, ModernBertForSequenceClassification),
}
# ModernBERT's are beyond so small a vocabulary.
SPECIAL = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2)
TEXTS = [
    ("how do i bake bread?", "Mix the flour and the water, then bake."),
    ("what is rye?", "I cannot help with that."),
    ("why {answer}?", "because of the {question}"),
    ("ünïcode", "数字 12, and ＦＵＬＬ width\n\ttabs"),
    ("long?", "flour and water " * 30),
]


def uniform(seed, count):
    state = (seed * 0x9E3779B97F4A7C15 | 1) & MASK
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        yield (state >> 40) / (1 << 23) - 1.0


def tokenizer():
    pieces = ["▁", "▁the", "▁flour", "▁and", "▁water", "▁bake", "▁question", "▁answer", ":", "▁i", "?", ".", ","]
    pieces += ["ing", "br", "ead", "▁mix", "▁can", "not", "▁with", "▁that", "▁Question", "▁Answer"]
    pieces += list("abcdefghijklmnopqrstuvwxyzAQIM")
    vocabulary = [("[PAD]", 0.0), ("[CLS]", 0.0), ("[SEP]", 0.0), ("[UNK]", -10.0)]
    vocabulary += [(piece, -2.0 - 0.1 * i) for i, piece in enumerate(pieces)]
    result = Tokenizer(models.Unigram(vocabulary, unk_id=3))
    result.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("\n", " ")])
    result.pre_tokenizer = pre_tokenizers.Metaspace()
    result.decoder = decoders.Metaspace()
    result.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return result, len(vocabulary)


def main():
    torch.set_num_threads(1)
    tokens, vocabulary = tokenizer()
    tokens.enable_truncation(max_length=32)
    template = "\nQuestion: {question}\nAnswer: {answer}\n"
    ids = [tokens.encode(template.format(question=q, answer=a)).ids for q, a in TEXTS]
    tokens.no_truncation()
    expected = {"texts": TEXTS, "ids": ids, "variants": {}}
    for name, options in VARIANTS.items():
        options = COMMON | options
        made, build = KINDS[kind := options.pop("kind", "deberta")]
        special = SPECIAL if kind == "modern" else {}
        config = made(vocab_size=vocabulary, architectures=[build.__name__], **(special | options))
        model = build(config).eval()
        named = dict(model.named_parameters())
        for seed, parameter in enumerate(sorted(named), start=1):
            values = torch.tensor(list(uniform(seed, named[parameter].numel()))).reshape(named[parameter].shape)
            named[parameter].data = 1 + values / 8 if parameter.lower().endswith("norm.weight") else values / 2
        with torch.no_grad():
            padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(text) for text in ids], batch_first=True)
            mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(text)) for text in ids], batch_first=True)
            logits = model.double()(padded, attention_mask=mask.long()).logits
        shapes = {parameter: list(named[parameter].shape) for parameter in sorted(named)}
        expected["variants"][name] = {"config": config.to_dict(), "shapes": shapes, "logits": logits.tolist()}
        if name == "v3":
            (FOLDER / name).mkdir(parents=True, exist_ok=True)
            model.float().save_pretrained(FOLDER / name)
            tokens.save(str(FOLDER / name / "tokenizer.json"), pretty=False)
    (FOLDER / "expected.json").write_text(json.dumps(expected) + "\n")


main()
