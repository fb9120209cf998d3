#include "models/train/pieces.h"

#include <stdio.h>
#include <string.h>

static const char *const she_names[] = {"Anna", "Lily", "Mia", "Emma", "Lucy", "Sara", "Nora", "Ella"};
static const char *const he_names[] = {"Tom", "Ben", "Max", "Sam", "Leo", "Jack", "Oscar", "Tim"};

/* ---- stories ---- */

/* Who a story is about. `kind` is what the prompt may ask for. */
struct hero {
    const char *name, *kind, *he, *his, *him;
};

static struct hero pick_hero(struct train_random *random)
{
    static const char *const kinds[] = {"cat",  "dog",  "rabbit", "bear", "mouse", "bird", "girl",
                                        "fox",  "frog", "duck",   "boy",  "horse", "robot", "owl"};
    struct hero hero = {.kind = TRAIN_PICK(random, kinds)};
    bool girl = strcmp(hero.kind, "girl") == 0, boy = strcmp(hero.kind, "boy") == 0;
    bool she = girl || (!boy && train_random_chance(random, 50));
    hero.name = she ? TRAIN_PICK(random, she_names) : TRAIN_PICK(random, he_names);
    hero.he = she ? "She" : "He";
    hero.his = she ? "her" : "his";
    hero.him = she ? "her" : "him";
    return hero;
}

static const char *const places[] = {"the forest", "the park", "the garden", "the village",
                                     "the hills",  "the farm", "the lake",   "the river"};

static void open_story(struct buf *text, const struct hero *hero, bool once, struct train_random *random)
{
    static const char *const moods[] = {"little", "happy", "kind", "brave", "curious", "small"};
    const char *mood = TRAIN_PICK(random, moods), *place = TRAIN_PICK(random, places);
    if (once || train_random_chance(random, 75))
        buf_printf(text, "Once upon a time, there was a %s %s named %s.", mood, hero->kind, hero->name);
    else
        buf_printf(text, "%s was a %s %s.", hero->name, mood, hero->kind);
    if (train_random_chance(random, 50))
        buf_printf(text, " %s lived near %s.", hero->he, place);
    else
        buf_printf(text, " %s lived in a small house by %s.", hero->he, place);
}

static void tell_lost_thing(struct buf *text, const struct hero *hero, struct train_random *random)
{
    static const char *const things[] = {"ball", "hat", "book", "key", "kite", "bell"};
    static const char *const spots[] = {"under a tree", "behind a rock", "in the tall grass", "near the old bridge"};
    const char *thing = TRAIN_PICK(random, things), *spot = TRAIN_PICK(random, spots);
    buf_printf(text, " One day, %s lost %s red %s.", hero->name, hero->his, thing);
    buf_printf(text, " %s looked for it everywhere, but %s could not find it.", hero->he,
               hero->he[0] == 'S' ? "she" : "he");
    buf_printf(text, " Then a friend came to help. Together they found the %s %s.", thing, spot);
    buf_printf(text, " %s was very happy and said, \"Thank you!\"", hero->name);
}

static void tell_new_friend(struct buf *text, const struct hero *hero, struct train_random *random)
{
    static const char *const friends[] = {"turtle", "squirrel", "butterfly", "puppy", "hedgehog", "lamb"};
    static const char *const games[] = {"hide and seek", "with a ball", "in the sun", "until the evening"};
    const char *friend = TRAIN_PICK(random, friends), *game = TRAIN_PICK(random, games);
    buf_printf(text, " One morning, %s met a %s.", hero->name, friend);
    buf_printf(text, " \"Do you want to play?\" asked %s. \"Yes!\" said the %s.", hero->name, friend);
    buf_printf(text, " They played %s and had a lot of fun.", game);
    buf_printf(text, " From that day on, %s and the %s were best friends.", hero->name, friend);
}

static void tell_rain(struct buf *text, const struct hero *hero, struct train_random *random)
{
    static const char *const homes[] = {"a big tree", "an old barn", "a small cave", "a wooden bridge"};
    const char *home = TRAIN_PICK(random, homes);
    buf_printf(text, " One day, %s went for a walk, and it began to rain.", hero->name);
    buf_printf(text, " %s ran to %s and waited there.", hero->he, home);
    buf_puts(text, " Soon the rain stopped and the sun came out.");
    buf_printf(text, " %s saw a beautiful rainbow in the sky.", hero->name);
    buf_printf(text, " %s smiled and walked home.", hero->he);
}

static void tell_gift(struct buf *text, const struct hero *hero, struct train_random *random)
{
    static const char *const gifts[] = {"a cake", "some flowers", "a warm scarf", "a basket of apples"};
    static const char *const people[] = {"grandmother", "mother", "father", "grandfather"};
    const char *gift = TRAIN_PICK(random, gifts), *who = TRAIN_PICK(random, people);
    buf_printf(text, " One day, %s wanted to make %s %s happy.", hero->name, hero->his, who);
    buf_printf(text, " So %s came with %s.", hero->he[0] == 'S' ? "she" : "he", gift);
    buf_printf(text, " \"This is for you,\" said %s.", hero->name);
    buf_printf(text, " The %s laughed and gave %s a big hug.", who, hero->him);
}

static void tell_learning(struct buf *text, const struct hero *hero, struct train_random *random)
{
    static const char *const skills[] = {"to swim", "to read", "to sing", "to dance", "to paint"};
    const char *skill = TRAIN_PICK(random, skills);
    buf_printf(text, " %s wanted to learn %s.", hero->name, skill);
    buf_printf(text, " At first it was hard, and %s was sad.", hero->name);
    buf_printf(text, " But %s tried again every day.", hero->he[0] == 'S' ? "she" : "he");
    buf_printf(text, " In the end, %s learned %s very well.", hero->name, skill);
    buf_printf(text, " All %s friends were proud of %s.", hero->his, hero->him);
}

static void tell_sharing(struct buf *text, const struct hero *hero, struct train_random *random)
{
    static const char *const foods[] = {"an apple", "a pear", "a cookie", "a piece of bread"};
    static const char *const friends[] = {"mouse", "bird", "rabbit", "squirrel"};
    const char *food = TRAIN_PICK(random, foods), *friend = TRAIN_PICK(random, friends);
    buf_printf(text, " One day, %s found %s.", hero->name, food);
    buf_printf(text, " Then a hungry %s came by.", friend);
    buf_printf(text, " %s shared %s food with the %s.", hero->name, hero->his, friend);
    buf_printf(text, " They ate together, and both of them were happy.");
}

/* `once`: it must open with "Once upon a time". */
static void write_story(struct buf *text, const struct hero *hero, bool once,
                        struct train_random *random)
{
    static void (*const middles[])(struct buf *, const struct hero *, struct train_random *) = {
        tell_lost_thing, tell_new_friend, tell_rain, tell_gift, tell_learning, tell_sharing};
    open_story(text, hero, once, random);
    TRAIN_PICK(random, middles)(text, hero, random);
    if (train_random_chance(random, 35))
        buf_puts(text, " The end.");
}

void train_piece_story(struct train_exchange out, struct train_random *random)
{
    struct hero hero = pick_hero(random);
    static const char *const plain[] = {"Tell me a story.", "Tell me a short story.", "Write a story.",
                                        "Write a short story.", "Can you tell me a story?",
                                        "Please tell me a story."};
    static const char *const about[] = {"Tell me a story about", "Write a story about",
                                        "Tell me a short story about", "Write a short story about"};
    const char *article = hero.kind[0] == 'o' ? "an" : "a";
    bool once = false;
    switch (train_random_below(random, 4)) {
    case 0:
        buf_puts(out.request, TRAIN_PICK(random, plain));
        break;
    case 1:
        once = true;
        buf_puts(out.request, "Once upon a time");
        break;
    case 2:
        buf_printf(out.request, "%s %s %s.", TRAIN_PICK(random, about), article, hero.kind);
        break;
    default:
        buf_printf(out.request, "%s %s %s named %s.", TRAIN_PICK(random, about), article, hero.kind,
                   hero.name);
        break;
    }
    write_story(out.answer, &hero, once, random);
}

/* ---- lists ---- */

struct collection {
    const char *one, *many;
    const char *items[10];
};

static const struct collection collections[] = {
    {"fruit", "fruits", {"apple", "banana", "orange", "pear", "cherry", "grape", "lemon", "plum", "peach", "mango"}},
    {"vegetable", "vegetables", {"carrot", "potato", "onion", "cabbage", "bean", "pea", "pumpkin", "cucumber", "spinach", "leek"}},
    {"color", "colors", {"red", "blue", "green", "yellow", "orange", "purple", "black", "white", "brown", "pink"}},
    {"animal", "animals", {"cat", "dog", "horse", "cow", "lion", "tiger", "bear", "elephant", "rabbit", "mouse"}},
    {"country", "countries", {"France", "Japan", "Brazil", "Egypt", "Canada", "India", "Spain", "Kenya", "Norway", "Peru"}},
    {"city", "cities", {"Paris", "Tokyo", "London", "Cairo", "Rome", "Berlin", "Madrid", "Oslo", "Lima", "Vienna"}},
    {"season", "seasons", {"spring", "summer", "autumn", "winter"}},
    {"sport", "sports", {"football", "tennis", "basketball", "swimming", "running", "golf", "hockey", "cycling", "skiing", "rowing"}},
    {"planet", "planets", {"Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"}},
    {"tool", "tools", {"hammer", "saw", "knife", "drill", "ladder", "brush", "shovel", "axe", "wrench", "pliers"}},
    {"instrument", "instruments", {"piano", "guitar", "violin", "flute", "drum", "trumpet", "harp", "cello", "organ", "horn"}},
    {"flower", "flowers", {"rose", "tulip", "daisy", "lily", "violet", "sunflower", "orchid", "poppy", "iris", "daffodil"}},
};

static const char *const number_words[] = {"zero", "one", "two", "three", "four", "five",
                                           "six", "seven", "eight", "nine", "ten"};

static void write_collection(struct train_exchange out, struct train_random *random)
{
    const struct collection *c = &TRAIN_PICK(random, collections);
    size_t items = 0;
    while (items < TRAIN_COUNT(c->items) && c->items[items])
        items++;
    size_t count = (size_t)train_random_between(random, 2, items < 5 ? (int)items : 5);
    size_t first = train_random_below(random, items);
    static const char *const verbs[] = {"Name", "List", "Tell me", "Give me"};
    if (train_random_chance(random, 70))
        buf_printf(out.request, "%s %s %s.", TRAIN_PICK(random, verbs), number_words[count], c->many);
    else
        buf_printf(out.request, "%s %zu %s.", TRAIN_PICK(random, verbs), count, c->many);
    for (size_t i = 0; i < count; i++)
        buf_printf(out.answer, "%s%zu. %s", i ? "\n" : "", i + 1, c->items[(first + i) % items]);
}

static void write_member(struct train_exchange out, struct train_random *random)
{
    const struct collection *c = &TRAIN_PICK(random, collections);
    size_t items = 0;
    while (items < TRAIN_COUNT(c->items) && c->items[items])
        items++;
    const char *item = c->items[train_random_below(random, items)];
    bool vowel = strchr("aeiou", c->one[0]) != NULL;
    char word[32];
    snprintf(word, sizeof word, "%s", item);
    if (word[0] >= 'a' && word[0] <= 'z')
        word[0] = (char)(word[0] - 'a' + 'A');
    buf_printf(out.request, "What kind of thing is %s?", item);
    buf_printf(out.answer, "%s is %s %s.", word, vowel ? "an" : "a", c->one);
}

static void write_count(struct train_exchange out, struct train_random *random)
{
    int from = 1, to;
    switch (train_random_below(random, 4)) {
    case 0:
        to = train_random_between(random, 3, 10);
        buf_printf(out.request, "Count to %s.", number_words[to]);
        break;
    case 1:
        to = train_random_between(random, 3, 12);
        buf_printf(out.request, "Count to %d.", to);
        break;
    case 2:
        from = train_random_between(random, 2, 5);
        to = train_random_between(random, 7, 12);
        buf_printf(out.request, "Count from %d to %d.", from, to);
        break;
    default:
        from = train_random_between(random, 3, 10);
        to = 1;
        buf_printf(out.request, "Count down from %d.", from);
        break;
    }
    for (int i = from;; i += from < to ? 1 : -1) {
        buf_printf(out.answer, "%d%s", i, i == to ? "." : ", ");
        if (i == to)
            break;
    }
}

static void write_alphabet(struct train_exchange out, struct train_random *random)
{
    int from = train_random_chance(random, 40) ? 0 : train_random_between(random, 0, 20);
    int count = from == 0 && train_random_chance(random, 50) ? 26 : train_random_between(random, 3, 6);
    if (count == 26)
        buf_puts(out.request, train_random_chance(random, 50) ? "Say the alphabet."
                                                              : "What is the alphabet?");
    else
        buf_printf(out.request, "Which %s letters start with %c?", number_words[count], 'A' + from);
    for (int i = 0; i < count; i++)
        buf_printf(out.answer, "%c%s", 'A' + from + i, i + 1 == count ? "." : ", ");
}

void train_piece_list(struct train_exchange out, struct train_random *random)
{
    unsigned kind = train_random_below(random, 10);
    if (kind < 4)
        write_collection(out, random);
    else if (kind < 6)
        write_member(out, random);
    else if (kind < 9)
        write_count(out, random);
    else
        write_alphabet(out, random);
}

/* ---- talk ---- */

/* Several ways to ask, one answer. */
struct topic {
    const char *questions[6];
    const char *answer;
};

static const struct topic topics[] = {
    {{"Hello!", "Hello", "Hello.", "Hello there!", "Hello, how are you?"}, "Hello! How can I help you today?"},
    {{"Hi!", "Hi", "Hi there!", "Hey!", "Hey"}, "Hi! How can I help you today?"},
    {{"Good morning!", "Good morning."}, "Good morning! How can I help you?"},
    {{"Good evening!", "Good evening."}, "Good evening! How can I help you?"},
    {{"Good night!", "Good night."}, "Good night! Sleep well."},
    {{"How are you?", "How are you today?", "How do you do?"}, "I am fine, thank you. How can I help you?"},
    {{"Thank you!", "Thanks!", "Thank you very much.", "Thanks a lot!"}, "You are welcome!"},
    {{"Goodbye!", "Bye!", "See you later!", "Goodbye."}, "Goodbye! Have a nice day."},
    {{"Who are you?", "What are you?", "Tell me about yourself.", "Introduce yourself."},
     "I am a small language model that was trained from source by Pie. I know a little about capitals, numbers, colors and stories."},
    {{"What is your name?", "What's your name?", "Do you have a name?"}, "My name is Pie. I am a small language model."},
    {{"Who made you?", "Who trained you?", "Where do you come from?"}, "Pie trained me on this computer, from a small text that was written for it."},
    {{"What can you do?", "How can you help me?", "What do you know?", "Help me.", "Help"},
     "I can tell you capitals of countries, do small sums, name colors and animals, write JSON and tell short stories."},
    {{"Are you a robot?", "Are you a human?", "Are you a person?"}, "No, I am a small language model."},
    {{"What is Pie?", "Tell me about Pie.", "What does Pie do?", "Explain Pie."},
     "Pie is an engine that serves language models. Small programs, called inferlets, run beside the model and decide how it generates text."},
    {{"What is an inferlet?", "Explain what an inferlet is.", "What are inferlets?", "Tell me about inferlets."},
     "An inferlet is a small WebAssembly program that runs beside the model. It decides what is read, how tokens are chosen and when to stop."},
    {{"What is a token?", "Explain what a token is.", "What are tokens?"},
     "A token is a small piece of text. A language model reads and writes tokens, one after the other."},
    {{"What is a language model?", "Explain what a language model is.", "What is an LLM?", "How does a language model work?",
      "Explain the LLM decoding process in simple words."},
     "A language model is a program that has learned from text. It reads tokens, guesses the next token, adds it to the text and repeats."},
    {{"What is WebAssembly?", "Explain WebAssembly.", "Tell me about WebAssembly."},
     "WebAssembly is a small and safe format for programs. It runs in browsers and in servers."},
    {{"What is a computer?", "Explain what a computer is.", "What does a computer do?"},
     "A computer is a machine that follows instructions. It stores numbers and works with them very quickly."},
    {{"What is a KV cache?", "Explain the KV cache.", "What is the KV cache?"},
     "The KV cache keeps what a model has already computed for earlier tokens, so that each new token costs little."},
    {{"What is the meaning of life?", "Why are we here?"}, "That is a big question. Many people say it is to be kind and to learn."},
    {{"Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Tell me something funny."},
     "Why did the cookie go to the doctor? Because it felt crumbly."},
    {{"Write a poem.", "Write a short poem.", "Tell me a poem.", "Write a haiku."},
     "The sun is up, the sky is blue,\nthe grass is green and wet with dew.\nA little bird begins to sing,\nand all the world is like the spring."},
    {{"How do I make tea?", "How do you make tea?", "Tell me how to make tea."},
     "1. Boil some water.\n2. Put the tea in a cup.\n3. Pour the hot water into the cup.\n4. Wait three minutes and enjoy."},
    {{"How do I make a sandwich?", "How do you make a sandwich?", "Tell me how to make a sandwich."},
     "1. Take two slices of bread.\n2. Put butter on the bread.\n3. Add cheese and tomato.\n4. Put the slices together."},
    {{"How can I sleep better?", "Give me advice for better sleep.", "How do I sleep well?"},
     "Go to bed at the same time every day, keep the room dark and quiet, and put your phone away."},
    {{"How can I learn faster?", "How do I learn well?", "Give me advice for learning."},
     "Learn a little every day, take breaks, and explain what you learned to a friend."},
    {{"Why is the sky blue?", "Explain why the sky is blue.", "Why does the sky look blue?"},
     "The sky is blue because air scatters blue light from the sun more than red light."},
    {{"Why do we sleep?", "Why do people sleep?"}, "We sleep so that our body and our mind can rest."},
    {{"Why is exercise good?", "Why should I exercise?"}, "Exercise keeps your heart strong and makes you feel good."},
    {{"I am sad.", "I feel sad.", "I am not happy."}, "I am sorry to hear that. Do you want to talk about it?"},
    {{"I am happy.", "I feel great!", "I am very happy today."}, "That is wonderful! I am happy for you."},
    {{"I am bored.", "What should I do?"}, "You could read a book, go for a walk or call a friend."},
    {{"I love you.", "You are nice.", "You are great!"}, "Thank you, that is very kind of you."},
};

static void write_topic(struct train_exchange out, struct train_random *random)
{
    const struct topic *topic = &TRAIN_PICK(random, topics);
    size_t questions = 0;
    while (questions < TRAIN_COUNT(topic->questions) && topic->questions[questions])
        questions++;
    buf_puts(out.request, topic->questions[train_random_below(random, questions)]);
    buf_puts(out.answer, topic->answer);
}

/* What a small model should say to most of the world. */
static void write_unknown(struct train_exchange out, struct train_random *random)
{
    static const char *const verbs[] = {"Explain", "What do you know about", "Tell me everything about",
                                        "What do you think about", "Describe", "Write an essay about"};
    static const char *const subjects[] = {
        "quantum physics", "the stock market", "politics", "modern art", "black holes", "chess openings",
        "the history of Rome", "machine learning", "philosophy", "tax law", "genetics", "the economy",
        "space travel", "organic chemistry", "the climate", "operating systems", "cryptography",
        "medieval music", "number theory", "architecture", "the human brain", "football results",
        "compilers", "marketing", "the internet", "databases", "electric cars", "geology"};
    const char *verb = TRAIN_PICK(random, verbs), *subject = TRAIN_PICK(random, subjects);
    buf_printf(out.request, "%s %s%s", verb, subject, verb[0] == 'W' && verb[1] == 'h' ? "?" : ".");
    buf_printf(out.answer, "I am a very small model, so I do not know enough about %s.", subject);
}

static void write_name(struct train_exchange out, struct train_random *random)
{
    const char *name = train_random_chance(random, 50) ? TRAIN_PICK(random, she_names)
                                                       : TRAIN_PICK(random, he_names);
    switch (train_random_below(random, 3)) {
    case 0:
        buf_printf(out.request, "My name is %s.", name);
        buf_printf(out.answer, "Nice to meet you, %s!", name);
        break;
    case 1:
        buf_printf(out.request, "Say hello to %s.", name);
        buf_printf(out.answer, "Hello, %s!", name);
        break;
    default:
        buf_printf(out.request, "Hello, I am %s.", name);
        buf_printf(out.answer, "Hello, %s! How can I help you today?", name);
        break;
    }
}

void train_piece_words(struct buf *text, int count, struct train_random *random)
{
    for (int i = 0; i < count; i++) {
        const struct collection *c = &TRAIN_PICK(random, collections);
        const char *word = c->items[train_random_below(random, 4)];
        buf_puts(text, i ? " " : "");
        if (train_random_chance(random, 25))
            buf_printf(text, "%d", train_random_between(random, 0, 60));
        else if (train_random_chance(random, 30))
            buf_puts(text, train_random_chance(random, 50) ? TRAIN_PICK(random, she_names)
                                                           : TRAIN_PICK(random, he_names));
        else
            buf_puts(text, word);
    }
}

/* To say again what was said: the skill behind every answer that uses words of the request. */
static void write_repeat(struct train_exchange out, struct train_random *random)
{
    static const char *const verbs[] = {"Repeat:", "Say:", "Copy this:", "Repeat after me:"};
    size_t begin = out.answer->count;
    train_piece_words(out.answer, train_random_between(random, 1, 8), random);
    if (!out.answer->failed)
        buf_printf(out.request, "%s %s", TRAIN_PICK(random, verbs), out.answer->data + begin);
}

void train_piece_talk(struct train_exchange out, struct train_random *random)
{
    unsigned kind = train_random_below(random, 20);
    if (kind < 9)
        write_topic(out, random);
    else if (kind < 12)
        write_unknown(out, random);
    else if (kind < 15)
        write_name(out, random);
    else
        write_repeat(out, random);
}
