#include "models/train/pieces.h"

#include <stdio.h>
#include <string.h>

#include "models/train/corpus.h"

static const char *const names[] = {"Anna", "Lily", "Mia", "Emma", "Lucy", "Sara", "Tom", "Ben",
                                    "Max",  "Sam",  "Leo", "Jack", "Nora", "Tim"};
static const char *const cities[] = {"Paris",  "Tokyo", "London", "Cairo",  "Rome",   "Berlin",
                                     "Madrid", "Oslo",  "Lima",   "Vienna", "Ottawa", "Athens"};

void train_piece_turn(struct buf *text, const char *role, const char *content)
{
    buf_printf(text, TRAIN_TURN "%s\n%s" TRAIN_TURN_END "\n", role, content);
}

/* ---- JSON ---- */

static void write_person(struct train_exchange out, struct train_random *random)
{
    const char *name = TRAIN_PICK(random, names), *city = TRAIN_PICK(random, cities);
    int age = train_random_between(random, 5, 60);
    switch (train_random_below(random, 4)) {
    case 0:
        buf_puts(out.request, train_random_chance(random, 50) ? "Write a JSON object for a person."
                                                              : "Give me a person as JSON.");
        buf_printf(out.answer, "{\"name\": \"%s\", \"age\": %d, \"city\": \"%s\"}", name, age, city);
        break;
    case 1:
        buf_printf(out.request, "Write a JSON object with name %s and age %d.", name, age);
        buf_printf(out.answer, "{\"name\": \"%s\", \"age\": %d}", name, age);
        break;
    case 2:
        buf_printf(out.request, "%s is %d years old and lives in %s. Answer as JSON.", name, age, city);
        buf_printf(out.answer, "{\"name\": \"%s\", \"age\": %d, \"city\": \"%s\"}", name, age, city);
        break;
    default:
        buf_printf(out.request, "Write a JSON object with name %s and city %s.", name, city);
        buf_printf(out.answer, "{\"name\": \"%s\", \"city\": \"%s\"}", name, city);
        break;
    }
}

static void write_things(struct train_exchange out, struct train_random *random)
{
    static const char *const animals[] = {"cat", "dog", "horse", "rabbit", "bird", "fish"};
    static const char *const colors[] = {"red", "green", "blue", "yellow", "black", "white"};
    static const char *const fruits[] = {"apple", "banana", "orange", "pear", "cherry", "plum"};
    switch (train_random_below(random, 5)) {
    case 0: {
        const char *name = TRAIN_PICK(random, names), *animal = TRAIN_PICK(random, animals);
        int age = train_random_between(random, 1, 15);
        buf_puts(out.request, "Write a JSON object for a pet.");
        buf_printf(out.answer, "{\"name\": \"%s\", \"animal\": \"%s\", \"age\": %d}", name, animal, age);
        break;
    }
    case 1: {
        const char *name = TRAIN_PICK(random, fruits);
        int price = train_random_between(random, 1, 20);
        buf_puts(out.request, "Write a JSON object for a product.");
        buf_printf(out.answer, "{\"name\": \"%s\", \"price\": %d, \"in_stock\": %s}", name, price,
                   train_random_chance(random, 50) ? "true" : "false");
        break;
    }
    case 2: {
        int x = train_random_between(random, 0, 20), y = train_random_between(random, 0, 20);
        buf_printf(out.request, "Write the point %d, %d as JSON.", x, y);
        buf_printf(out.answer, "{\"x\": %d, \"y\": %d}", x, y);
        break;
    }
    case 3: {
        size_t at = train_random_below(random, TRAIN_COUNT(colors));
        buf_puts(out.request, "Write a JSON list of three colors.");
        buf_printf(out.answer, "[\"%s\", \"%s\", \"%s\"]", colors[at], colors[(at + 1) % 6], colors[(at + 2) % 6]);
        break;
    }
    default: {
        size_t at = train_random_below(random, TRAIN_COUNT(fruits));
        buf_puts(out.request, "Write a JSON list of three fruits.");
        buf_printf(out.answer, "[\"%s\", \"%s\", \"%s\"]", fruits[at], fruits[(at + 1) % 6], fruits[(at + 2) % 6]);
        break;
    }
    }
}

static void write_country(struct train_exchange out, struct train_random *random)
{
    size_t count;
    const struct train_capital *c = train_corpus_capitals(&count);
    c += train_random_below(random, count);
    if (train_random_chance(random, 50))
        buf_printf(out.request, "Write %s and its capital as JSON.", c->country);
    else
        buf_printf(out.request, "What is the capital of %s? Answer as JSON.", c->country);
    const char *name = strncmp(c->country, "the ", 4) == 0 ? c->country + 4 : c->country;
    buf_printf(out.answer, "{\"country\": \"%s\", \"capital\": \"%s\"}", name, c->city);
}

void train_piece_json(struct train_exchange out, struct train_random *random)
{
    unsigned kind = train_random_below(random, 10);
    if (kind < 5)
        write_person(out, random);
    else if (kind < 8)
        write_things(out, random);
    else
        write_country(out, random);
}

/* ---- tools ---- */

enum tool { WEATHER, TIME, ADD, SEND, SEARCH, TOOL_COUNT };

struct parameter {
    const char *name, *type;
};

static const struct {
    const char *name, *description;
    struct parameter parameters[2];
} tools[TOOL_COUNT] = {
    [WEATHER] = {"get_weather", "Get the weather in a city.", {{"city", "string"}}},
    [TIME] = {"get_time", "Get the time in a city.", {{"city", "string"}}},
    [ADD] = {"add", "Add two numbers.", {{"a", "integer"}, {"b", "integer"}}},
    [SEND] = {"send_message", "Send a message to a person.", {{"to", "string"}, {"text", "string"}}},
    [SEARCH] = {"search", "Search for a word.", {{"query", "string"}}},
};

static void write_declaration(struct buf *text, enum tool tool, bool wrapped)
{
    if (wrapped)
        buf_puts(text, "{\"type\": \"function\", \"function\": ");
    buf_printf(text, "{\"name\": \"%s\", \"description\": \"%s\", \"parameters\": {\"type\": \"object\", \"properties\": {",
               tools[tool].name, tools[tool].description);
    for (size_t i = 0; i < 2 && tools[tool].parameters[i].name; i++)
        buf_printf(text, "%s\"%s\": {\"type\": \"%s\"}", i ? ", " : "", tools[tool].parameters[i].name,
                   tools[tool].parameters[i].type);
    buf_puts(text, "}, \"required\": [");
    for (size_t i = 0; i < 2 && tools[tool].parameters[i].name; i++)
        buf_printf(text, "%s\"%s\"", i ? ", " : "", tools[tool].parameters[i].name);
    buf_puts(text, wrapped ? "]}}}" : "]}}");
}

/* The announcement that chat families of this kind make (reference, section 9.4). */
static void write_declarations(struct buf *text, enum tool wanted, struct train_random *random)
{
    bool wrapped = train_random_chance(random, 50);
    buf_puts(text, TRAIN_TURN "system\n # Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
                   "You are provided with function signatures within <tools></tools> XML tags:\n<tools>");
    enum tool other = (enum tool)((wanted + 1 + train_random_below(random, TOOL_COUNT - 1)) % TOOL_COUNT);
    bool both = train_random_chance(random, 40), first = train_random_chance(random, 50);
    buf_puts(text, "\n");
    write_declaration(text, both && !first ? other : wanted, wrapped);
    if (both) {
        buf_puts(text, "\n");
        write_declaration(text, first ? other : wanted, wrapped);
    }
    buf_puts(text, "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
                   "within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, "
                   "\"arguments\": <args-json-object>}\n</tool_call>" TRAIN_TURN_END "\n");
}

void train_piece_tools(struct buf *text, struct train_random *random)
{
    enum tool tool = (enum tool)train_random_below(random, TOOL_COUNT);
    write_declarations(text, tool, random);
    char request[120] = "", arguments[120] = "", result[120] = "", answer[160] = "";
    const char *city = TRAIN_PICK(random, cities), *name = TRAIN_PICK(random, names);
#define SET(field, ...) snprintf(field, sizeof field, __VA_ARGS__)
    switch (tool) {
    case WEATHER: {
        static const char *const skies[] = {"sunny", "cloudy", "rainy", "windy", "snowy"};
        const char *sky = TRAIN_PICK(random, skies);
        int degrees = train_random_between(random, 0, 30);
        SET(request, train_random_chance(random, 60) ? "What is the weather in %s?" : "How is the weather in %s?", city);
        SET(arguments, "{\"city\": \"%s\"}", city);
        SET(result, "{\"weather\": \"%s\", \"temperature\": %d}", sky, degrees);
        SET(answer, "It is %s in %s, with %d degrees.", sky, city, degrees);
        break;
    }
    case TIME: {
        int hour = train_random_between(random, 0, 23), minute = train_random_between(random, 0, 59);
        SET(request, train_random_chance(random, 60) ? "What time is it in %s?" : "Tell me the time in %s.", city);
        SET(arguments, "{\"city\": \"%s\"}", city);
        SET(result, "{\"time\": \"%02d:%02d\"}", hour, minute);
        SET(answer, "It is %02d:%02d in %s.", hour, minute, city);
        break;
    }
    case ADD: {
        int a = train_random_between(random, 0, 20), b = train_random_between(random, 0, 20);
        SET(request, train_random_chance(random, 60) ? "What is %d plus %d?" : "Add %d and %d.", a, b);
        SET(arguments, "{\"a\": %d, \"b\": %d}", a, b);
        SET(result, "{\"sum\": %d}", a + b);
        SET(answer, "%d plus %d is %d.", a, b, a + b);
        break;
    }
    case SEND: {
        static const char *const words[] = {"Hello!", "See you soon.", "Thank you!", "I am late.", "Good morning!"};
        const char *word = TRAIN_PICK(random, words);
        SET(request, "Send this message to %s: %s", name, word);
        SET(arguments, "{\"to\": \"%s\", \"text\": \"%s\"}", name, word);
        SET(result, "{\"status\": \"sent\"}");
        SET(answer, "I sent your message to %s.", name);
        break;
    }
    case SEARCH:
    case TOOL_COUNT: {
        static const char *const words[] = {"cats", "music", "books", "trains", "flowers", "planets"};
        const char *word = TRAIN_PICK(random, words);
        int count = train_random_between(random, 0, 20);
        SET(request, train_random_chance(random, 60) ? "Search for %s." : "Please search for %s.", word);
        SET(arguments, "{\"query\": \"%s\"}", word);
        SET(result, "{\"results\": %d}", count);
        SET(answer, "I found %d results for %s.", count, word);
        break;
    }
    }
#undef SET
    train_piece_turn(text, "user", request);
    buf_printf(text, TRAIN_TURN "assistant\n<tool_call>\n{\"name\": \"%s\", \"arguments\": %s}\n</tool_call>" TRAIN_TURN_END "\n",
               tools[tool].name, arguments);
    if (train_random_chance(random, 60)) {
        buf_printf(text, TRAIN_TURN "user\n<tool_response>\n%s\n</tool_response>" TRAIN_TURN_END "\n", result);
        train_piece_turn(text, "assistant", answer);
    }
}
