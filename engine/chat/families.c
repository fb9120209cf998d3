/* The pages of data: one per model family. Facts from pie 0.4 and the models' own templates; where
 * they differ, what pie 0.4's interface promises wins. */
#include "engine/chat/chat_impl.h"

#define COUNT(list) (sizeof(list) / sizeof *(list))

#define CHATML(role) {"<|im_start|>" CUT role CUT "\n", "<|im_end|>" CUT "\n"}
#define CHATML_TURNS                                                                               \
    .system = CHATML("system"), .user = CHATML("user"), .assistant = CHATML("assistant")
#define CHATML_CUE "<|im_start|>" CUT "assistant" CUT "\n"
#define CHATML_TOOL_ANSWER                                                                         \
    {"<|im_start|>" CUT "user" CUT "\n" CUT "<tool_response>" CUT "\n",                            \
     "\n" CUT "</tool_response>" CUT "<|im_end|>" CUT "\n"}
#define LLAMA3(role)                                                                               \
    {"<|start_header_id|>" CUT role CUT "<|end_header_id|>" CUT "\n\n", "<|eot_id|>"}
#define PHI3(role)   {role CUT "\n", "<|end|>" CUT "\n"}
#define GEMMA(role)  {"<start_of_turn>" CUT role CUT "\n", "<end_of_turn>" CUT "\n"}
#define GEMMA4(role) {"<|turn>" CUT role CUT "\n", "<turn|>" CUT "\n"}
#define KIMI(role)   {"<|im_" role "|>" CUT role CUT "<|im_middle|>", "<|im_end|>"}

const struct chat_family chat_families[] = {
    {
        .name = "qwen3",
        .archs = "qwen3 qwen3moe qwen3_moe qwen3vl qwen3vlmoe qwen3_vl qwen3_vl_text qwen3_5 "
                 "qwen3_5_text "
                 "qwen3_5_moe qwen3_5_moe_text qwen35 qwen35moe qwen3next",
        .marks = {"<|im_start|>"},
        CHATML_TURNS,
        .tool_answer = CHATML_TOOL_ANSWER,
        .cue = CHATML_CUE,
        .stops = {"<|im_end|>", "<|endoftext|>"},
        .think_start = "<think>",
        .think_end = "</think>",
        .replays_answer = true,
        .replay_trims_newlines = true,
        .tools = CHAT_TOOLS_XML,
    },
    {
        .name = "qwen2",
        .archs = "qwen2 qwen2moe qwen2_moe qwen2vl qwen2_vl",
        .marks = {"<|im_start|>"},
        CHATML_TURNS,
        .tool_answer = CHATML_TOOL_ANSWER,
        .cue = CHATML_CUE,
        .stops = {"<|im_end|>", "<|endoftext|>"},
        .tools = CHAT_TOOLS_XML,
    },
    {
        .name = "glm_moe_dsa",
        .archs = "glm_moe_dsa glm_dsa",
        CHATML_TURNS,
        .tool_answer = CHATML_TOOL_ANSWER,
        .cue = CHATML_CUE,
        .stops = {"<|im_end|>", "<|endoftext|>", "<|user|>", "<|assistant|>"},
        .think_start = "<think>",
        .think_end = "</think>",
        .replays_answer = true,
        .replay_trims_newlines = true,
        .tools = CHAT_TOOLS_XML,
    },
    {
        .name = "nemotron_h",
        .archs = "nemotron_h nemotron_h_moe",
        .marks = {"<|im_start|>"},
        CHATML_TURNS,
        .cue = CHATML_CUE CUT "<think>\n",
        .stops = {"<|im_end|>", "<|endoftext|>"},
        .think_start = "<think>",
        .think_end = "</think>",
        .thinks_from_start = true,
        .replays_answer = true,
        .replay_trims_newlines = true,
    },
    {
        .name = "olmo3",
        .archs = "olmo3",
        .marks = {"<|im_start|>"},
        CHATML_TURNS,
        .tool_answer = CHATML("environment"),
        .cue = CHATML_CUE CUT "<think>",
        .stops = {"<|im_end|>", "<|endoftext|>"},
        .think_start = "<think>",
        .think_end = "</think>",
        .thinks_from_start = true,
        .tools = CHAT_TOOLS_OLMO3,
    },
    {
        .name = "llama3",
        .archs = "llama3 l4ma",
        .marks = {"<|start_header_id|>"},
        .system = LLAMA3("system"),
        .user = LLAMA3("user"),
        .assistant = LLAMA3("assistant"),
        .tool_answer = LLAMA3("ipython"),
        .cue = "<|start_header_id|>" CUT "assistant" CUT "<|end_header_id|>" CUT "\n\n",
        .stops = {"<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"},
        .think_start = "<think>",
        .think_end = "</think>",
        .tools = CHAT_TOOLS_LLAMA3,
    },
    {
        .name = "mistral3",
        .archs = "mistral3 ministral3",
        .marks = {"[SYSTEM_PROMPT]"},
        .system = {"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"},
        .user = {"[INST]", "[/INST]"},
        .assistant = {"", "</s>"},
        .tool_answer = {"[TOOL_RESULTS]", "[/TOOL_RESULTS]"},
        .stops = {"</s>"},
        .tools = CHAT_TOOLS_MISTRAL,
    },
    {
        .name = "phi3",
        .archs = "phi3 phimoe phi3small",
        .marks = {"<|user|>", "<|end|>"},
        .system = PHI3("<|system|>"),
        .user = PHI3("<|user|>"),
        .assistant = PHI3("<|assistant|>"),
        .cue = "<|assistant|>" CUT "\n",
        .stops = {"<|end|>", "<|endoftext|>"},
    },
    {
        .name = "gemma2",
        .archs = "gemma2 gemma",
        .marks = {"<start_of_turn>"},
        .system = {"", "\n"},
        .user = GEMMA("user"),
        .assistant = GEMMA("model"),
        .cue = "<start_of_turn>" CUT "model" CUT "\n",
        .stops = {"<end_of_turn>", "<eos>"},
    },
    {
        .name = "gemma3",
        .archs = "gemma3 gemma3_text gemma3n gemma3n_text",
        .marks = {"<start_of_turn>"},
        .system = {"", "\n"},
        .user = GEMMA("user"),
        .assistant = GEMMA("model"),
        .first = "<bos>",
        .system_in_user = true,
        .trims = true,
        .cue = "<start_of_turn>" CUT "model" CUT "\n",
        .stops = {"<end_of_turn>", "<eos>"},
    },
    {
        .name = "gemma4",
        .archs = "gemma4 gemma4_text",
        .marks = {"<|turn>"},
        .system = {"<bos>" CUT "<|turn>" CUT "system" CUT "\n", "<turn|>" CUT "\n"},
        .user = GEMMA4("user"),
        .assistant = GEMMA4("model"),
        .first = "<bos>",
        .trims = true,
        .cue = "<|turn>" CUT "model" CUT "\n",
        .stops = {"<turn|>", "<eos>"},
    },
    {
        .name = "olmo2",
        .archs = "olmo2",
        .marks = {"<|endoftext|>"},
        .system = {"<|endoftext|>" CUT "<|system|>" CUT "\n", "\n"},
        .user = {"<|user|>" CUT "\n", "\n"},
        .assistant = {"<|assistant|>" CUT "\n", "<|endoftext|>"},
        .cue = "<|assistant|>" CUT "\n",
        .stops = {"<|endoftext|>"},
    },
    {
        .name = "deepseek",
        .archs = "r1 deepseek_v3 deepseek_v4 deepseek2",
        .marks = {"<｜User｜>"},
        .system = {"", ""},
        .user = {"<｜User｜>", ""},
        .assistant = {"<｜Assistant｜>", "<｜end▁of▁sentence｜>"},
        .tool_answer = {"<｜tool▁outputs▁begin｜>" CUT "<｜tool▁output▁begin｜>",
                        "<｜tool▁output▁end｜>" CUT "<｜tool▁outputs▁end｜>"},
        .cue = "<｜Assistant｜>",
        .stops = {"<｜end▁of▁sentence｜>", "<|EOT|>"},
        .think_start = "<think>",
        .think_end = "</think>",
        .replays_answer = true,
        .tools = CHAT_TOOLS_DEEPSEEK,
    },
    {
        .name = "kimi",
        .archs = "kimi_k2 kimi_k25",
        .marks = {"<|im_middle|>", "<|im_user|>"},
        .system = KIMI("system"),
        .user = KIMI("user"),
        .assistant = KIMI("assistant"),
        .cue = "<|im_assistant|>" CUT "assistant" CUT "<|im_middle|>" CUT "<think></think>",
        .stops = {"<|im_end|>", "[EOS]"},
        .replay_without_thought = "<think></think>",
    },
    {
        .name = "gptoss",
        .archs = "gptoss gpt_oss",
        .marks = {"<|channel|>", "<|message|>"},
        .system = {"<|start|>" CUT "developer" CUT "<|message|>", "<|end|>"},
        .user = {"<|start|>" CUT "user" CUT "<|message|>", "<|end|>"},
        .assistant = {"<|start|>" CUT "assistant" CUT "<|channel|>" CUT "final" CUT "<|message|>",
                      "<|end|>"},
        .cue = "<|start|>" CUT "assistant",
        .stops = {"<|endoftext|>", "<|return|>", "<|call|>"},
        .think_start = "<|channel|>analysis<|message|>",
        .think_end = "<|end|>",
        .tools = CHAT_TOOLS_GPTOSS,
    },
    {
        .name = "chatml",
        .archs = "",
        .marks = {"<|im_start|>"},
        CHATML_TURNS,
        .cue = CHATML_CUE,
        .stops = {"<|im_end|>", "<|endoftext|>"},
    },
};
const size_t chat_family_count = COUNT(chat_families);

/* No token of its own tells this one from a base model; chat_create decides. */
const struct chat_family chat_family_llama2 = {
    .name = "llama2",
    .archs = "llama2",
    .system = {"<<SYS>>" CUT "\n", "\n" CUT "<</SYS>>" CUT "\n\n"},
    .user = {"[INST]" CUT " ", " " CUT "[/INST]"},
    .assistant = {"", "</s>"},
    .stops = {"</s>"},
};

/* A model that was never taught turns: messages are lines of text. */
const struct chat_family chat_family_plain = {
    .name = "plain",
    .archs = "",
    .system = {"", "\n"},
    .user = {"", "\n"},
    .assistant = {"", "\n"},
};
