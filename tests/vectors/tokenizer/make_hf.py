"""Trains small vocabularies with Hugging Face's tokenizers and writes them with the ids they give:
hf-NAME.json and hf-NAME.out (a line of ids for each line of llama.cpp.inp's texts). The source of
those files; not part of the build.   make_hf.py TEXT-FILE OUT-FOLDER"""
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
text = open(sys.argv[1], encoding="utf-8").read()
here = __file__.rsplit("/", 1)[0]
samples = open(here + "/llama.cpp.inp", encoding="utf-8").read().split("\n__ggml_vocab_test__\n")


def splitter(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level(pre, **model):
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens(["<|begin|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<think>", special=False)])
    return tokenizer


def spaces(metaspace):
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # Trained on words, so that a space only begins a token.
    words = [word for line in text.split("\n") for word in line.replace(" ", " ▁").split(" ") if word]
    trainer = Tokenizer(models.BPE(unk_token="<unk>"))
    trainer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="removed")
    trainer.train_from_iterator([" ".join(words)], trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % byte for byte in range(256)],
        show_progress=False))
    import json
    trained = json.loads(trainer.to_str())
    full = json.loads(tokenizer.to_str())
    full["model"]["vocab"] = trained["model"]["vocab"]
    full["model"]["merges"] = trained["model"]["merges"]
    tokenizer = Tokenizer.from_str(json.dumps(full))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


for name, tokenizer in {
        "llama3": byte_level(splitter(LLAMA3), ignore_merges=True),
        "qwen2": byte_level(splitter(LLAMA3.replace("{1,3}", ""))),
        "gpt2": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "smollm": byte_level(pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])),
        "llama2": spaces(False), "metaspace": spaces(True)}.items():
    tokenizer.save("%s/hf-%s.json" % (sys.argv[2], name), pretty=False)
    with open("%s/hf-%s.out" % (sys.argv[2], name), "w") as out:
        for sample in samples:
            print(*tokenizer.encode(sample, add_special_tokens=True).ids, file=out)
