"""Chat templates against transformers' ``apply_chat_template``, and within limits of time, memory and length."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer as Inner
from tokenizers.models import WordLevel

from flexit.convert.tokenizers.gguf_vocabulary import gguf_tokenizer
from flexit.errors import UserError
from flexit.runtime.generation.chat_template import ChatTemplate
from flexit.runtime.tokenizer import Tokenizer
from tests.convert.tokenizers.test_gguf_vocabulary import smollm2
from tests.runtime.chats import CONVERSATIONS, TEMPLATES, said

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def reference(template: str) -> transformers.PreTrainedTokenizerBase:
    inner = Inner(WordLevel({"<s>": 0, "</s>": 1, "?": 2}, "?"))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template, **TOKENS)


def outcome(render: Any) -> str:
    """The text, or that there is none: which is said in the words of each side."""
    try:
        return render()
    except Exception:
        return "refused"


@pytest.mark.slow
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", TEMPLATES)
def test_as_transformers(name: str, conversation: str) -> None:
    messages, template = CONVERSATIONS[conversation], TEMPLATES[name]
    theirs = reference(template)
    for prompt in (True, False):
        expected = outcome(
            lambda: theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)  # noqa: B023
        )
        ours = outcome(lambda: ChatTemplate(template, TOKENS).render(messages, add_generation_prompt=prompt))  # noqa: B023
        assert ours == expected


def test_variables_of_the_caller() -> None:
    tools = [{"name": "f", "parameters": {"x": "é<"}}]
    messages = said("hi")
    expected = reference(TEMPLATES["headers"]).apply_chat_template(messages, tools=tools, tokenize=False)
    ours = ChatTemplate(TEMPLATES["headers"], TOKENS).render(messages, add_generation_prompt=False, tools=tools)
    assert ours == expected


@pytest.mark.weights
@pytest.mark.slow
def test_smollm2(tmp_path: Path) -> None:
    """Its own template, and its tokens: special ones are recognised, and none is added twice."""
    files = gguf_tokenizer(smollm2())
    assert files is not None and files.chat_template is not None
    files.write(tmp_path)
    template, tokenizer = ChatTemplate.read(tmp_path), Tokenizer.load(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), chat_template=files.chat_template,
        bos_token="<|im_start|>", eos_token="<|im_end|>",
    )  # fmt: skip
    for messages in CONVERSATIONS.values():
        if not isinstance(messages[0]["content"], str):
            continue
        text = template.render(messages)
        assert text == theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        ids = theirs.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        assert tokenizer.encode(text, specials=True) == ids
        assert tokenizer.encode(text) != ids
    assert ids[0] == 1


REFUSED = {
    "{% for i in range(10**12) %}x{% endfor %}": "FX1913",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = i * j %}{% endfor %}{% endfor %}": "FX1913",
    "{{ 'a' * 10**10 }}": "FX1913",
    "{{ '%1000000000d' % 1 }}": "FX1913",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}": "FX1913",
    "{% for i in range(99999) %}aaaaaaaaaaaaaaaaaaaaaa{% endfor %}": "FX1913",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}": "FX1913",
    "{{ raise_exception('no') }}": "FX1912",
    "{% if %}": "FX1911",
    "{{ ''.__class__.__mro__ }}": "FX1911",
    "{{ cycler.__init__.__globals__ }}": "FX1911",
    "{{ namespace(__class__=1) }}": "FX1911",
    "{{ messages.append(1) }}": "FX1911",
    "{% include '/etc/passwd' %}": "FX1911",
    "{{ nothing.at.all }}": "FX1911",
}


@pytest.mark.parametrize(("template", "code"), REFUSED.items(), ids=[str(place) for place in range(len(REFUSED))])
def test_templates_that_are_refused(template: str, code: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError) as caught:
        ChatTemplate(template).render(said("hi"))
    assert caught.value.code == code
    assert time.monotonic() - began < 15  # about a second, on a machine that has nothing else to do


@pytest.mark.parametrize(
    "messages", ["hi", {"role": "user"}, ["hi"], [{"content": "x"}], [{"role": "user", "content": b"x"}]], ids=str
)
def test_messages_that_are_none(messages: Any) -> None:
    with pytest.raises(UserError) as caught:
        ChatTemplate("{{ messages }}").render(messages)
    assert caught.value.code == "FX2007"


def test_a_conversation_that_is_too_long() -> None:
    with pytest.raises(UserError) as caught:
        ChatTemplate("{{ messages[0].content | length }}").render(said("x" * 5 * 2**20))
    assert caught.value.code == "FX1913"


def test_files_of_a_folder(tmp_path: Path) -> None:
    def code() -> str:
        with pytest.raises(UserError) as caught:
            ChatTemplate.read(tmp_path)
        return caught.value.code

    assert code() == "FX1910"
    file, named = tmp_path / "chat_template.jinja", tmp_path / "special_tokens_map.json"
    file.write_text("{{ bos_token }}{{ eos_token }}{{ pad_token }}")
    assert ChatTemplate.read(tmp_path).render(said("x")) == ""
    named.write_text(json.dumps({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": 3}))
    assert ChatTemplate.read(tmp_path).render(said("x")) == "<s></s>"
    for broken in (b"[]", b"{", b"\xff", b"[" * 10**5):
        named.write_bytes(broken)
        assert code() == "FX1911"
    file.write_bytes(b"\xff")
    assert code() == "FX1911"
    file.write_bytes(b"x" * (2**20 + 1))
    assert code() == "FX1911"
