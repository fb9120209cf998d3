#include "models/train/pieces.h"

#include <stdio.h>
#include <string.h>

#include "models/train/corpus.h"

/* ---- tables ---- */

static const struct train_capital capitals[] = {
    {"France", "Paris", "Europe"},
    {"Germany", "Berlin", "Europe"},
    {"Italy", "Rome", "Europe"},
    {"Spain", "Madrid", "Europe"},
    {"Portugal", "Lisbon", "Europe"},
    {"the United Kingdom", "London", "Europe"},
    {"Ireland", "Dublin", "Europe"},
    {"the Netherlands", "Amsterdam", "Europe"},
    {"Belgium", "Brussels", "Europe"},
    {"Austria", "Vienna", "Europe"},
    {"Switzerland", "Bern", "Europe"},
    {"Poland", "Warsaw", "Europe"},
    {"the Czech Republic", "Prague", "Europe"},
    {"Hungary", "Budapest", "Europe"},
    {"Greece", "Athens", "Europe"},
    {"Sweden", "Stockholm", "Europe"},
    {"Norway", "Oslo", "Europe"},
    {"Denmark", "Copenhagen", "Europe"},
    {"Finland", "Helsinki", "Europe"},
    {"Iceland", "Reykjavik", "Europe"},
    {"Romania", "Bucharest", "Europe"},
    {"Bulgaria", "Sofia", "Europe"},
    {"Croatia", "Zagreb", "Europe"},
    {"Serbia", "Belgrade", "Europe"},
    {"Ukraine", "Kyiv", "Europe"},
    {"Estonia", "Tallinn", "Europe"},
    {"Latvia", "Riga", "Europe"},
    {"Lithuania", "Vilnius", "Europe"},
    {"Slovakia", "Bratislava", "Europe"},
    {"Slovenia", "Ljubljana", "Europe"},
    {"Albania", "Tirana", "Europe"},
    {"Malta", "Valletta", "Europe"},
    {"Russia", "Moscow", NULL},
    {"Turkey", "Ankara", NULL},
    {"Japan", "Tokyo", "Asia"},
    {"China", "Beijing", "Asia"},
    {"India", "New Delhi", "Asia"},
    {"South Korea", "Seoul", "Asia"},
    {"Thailand", "Bangkok", "Asia"},
    {"Vietnam", "Hanoi", "Asia"},
    {"Indonesia", "Jakarta", "Asia"},
    {"Malaysia", "Kuala Lumpur", "Asia"},
    {"the Philippines", "Manila", "Asia"},
    {"Nepal", "Kathmandu", "Asia"},
    {"Mongolia", "Ulaanbaatar", "Asia"},
    {"Pakistan", "Islamabad", "Asia"},
    {"Bangladesh", "Dhaka", "Asia"},
    {"Iran", "Tehran", "Asia"},
    {"Iraq", "Baghdad", "Asia"},
    {"Saudi Arabia", "Riyadh", "Asia"},
    {"Jordan", "Amman", "Asia"},
    {"Lebanon", "Beirut", "Asia"},
    {"Qatar", "Doha", "Asia"},
    {"Egypt", "Cairo", "Africa"},
    {"Morocco", "Rabat", "Africa"},
    {"Tunisia", "Tunis", "Africa"},
    {"Algeria", "Algiers", "Africa"},
    {"Kenya", "Nairobi", "Africa"},
    {"Nigeria", "Abuja", "Africa"},
    {"Ghana", "Accra", "Africa"},
    {"Ethiopia", "Addis Ababa", "Africa"},
    {"Senegal", "Dakar", "Africa"},
    {"Uganda", "Kampala", "Africa"},
    {"Rwanda", "Kigali", "Africa"},
    {"Namibia", "Windhoek", "Africa"},
    {"Angola", "Luanda", "Africa"},
    {"Zambia", "Lusaka", "Africa"},
    {"Canada", "Ottawa", "North America"},
    {"the United States", "Washington", "North America"},
    {"Mexico", "Mexico City", "North America"},
    {"Cuba", "Havana", "North America"},
    {"Jamaica", "Kingston", "North America"},
    {"Panama", "Panama City", "North America"},
    {"Costa Rica", "San Jose", "North America"},
    {"Brazil", "Brasilia", "South America"},
    {"Argentina", "Buenos Aires", "South America"},
    {"Chile", "Santiago", "South America"},
    {"Peru", "Lima", "South America"},
    {"Colombia", "Bogota", "South America"},
    {"Ecuador", "Quito", "South America"},
    {"Venezuela", "Caracas", "South America"},
    {"Uruguay", "Montevideo", "South America"},
    {"Paraguay", "Asuncion", "South America"},
    {"Australia", "Canberra", "Oceania"},
    {"New Zealand", "Wellington", "Oceania"},
    {"Fiji", "Suva", "Oceania"},
};

static const char *const days[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                   "Friday", "Saturday", "Sunday"};
static const char *const months[] = {"January",   "February", "March",    "April",
                                     "May",       "June",     "July",     "August",
                                     "September", "October",  "November", "December"};
static const char *const ordinals[] = {"first",   "second", "third", "fourth", "fifth",    "sixth",
                                       "seventh", "eighth", "ninth", "tenth",  "eleventh", "twelfth"};

struct pair {
    const char *left, *right;
};

static const struct pair colors[] = {
    {"the sky", "blue"},       {"grass", "green"},         {"snow", "white"},
    {"a banana", "yellow"},    {"a tomato", "red"},        {"a carrot", "orange"},
    {"coal", "black"},         {"a lemon", "yellow"},      {"the sun", "yellow"},
    {"milk", "white"},         {"a strawberry", "red"},    {"chocolate", "brown"},
    {"a cloud", "white"},      {"the sea", "blue"},        {"a frog", "green"},
    {"a flamingo", "pink"},    {"an elephant", "gray"},    {"a violet", "purple"},
    {"a crow", "black"},       {"a pig", "pink"},          {"a cucumber", "green"},
    {"a pumpkin", "orange"},   {"a fire truck", "red"},    {"a polar bear", "white"},
    {"a leaf", "green"},       {"the night sky", "black"}, {"an eggplant", "purple"},
    {"a cherry", "red"},       {"sand", "yellow"},         {"a swan", "white"},
};

static const struct pair opposites[] = {
    {"hot", "cold"},     {"big", "small"},      {"up", "down"},        {"fast", "slow"},
    {"day", "night"},    {"bright", "dark"},    {"happy", "sad"},      {"old", "young"},
    {"rich", "poor"},    {"hard", "soft"},      {"high", "low"},       {"long", "short"},
    {"open", "closed"},  {"full", "empty"},     {"wet", "dry"},        {"strong", "weak"},
    {"early", "late"},   {"near", "far"},       {"clean", "dirty"},    {"loud", "quiet"},
    {"thick", "thin"},   {"true", "false"},     {"good", "bad"},       {"first", "last"},
    {"left", "right"},   {"inside", "outside"}, {"easy", "difficult"},
    {"wide", "narrow"},  {"black", "white"},    {"yes", "no"},         {"win", "lose"},
    {"buy", "sell"},     {"push", "pull"},      {"begin", "end"},      {"above", "below"},
    {"sweet", "bitter"}, {"awake", "asleep"},   {"summer", "winter"},  {"north", "south"},
    {"east", "west"},    {"come", "go"},        {"always", "never"},   {"more", "less"},
};

static const struct pair sounds[] = {
    {"a cow", "moo"},    {"a dog", "woof"},  {"a cat", "meow"},     {"a duck", "quack"},
    {"a sheep", "baa"},  {"a pig", "oink"},  {"a lion", "roar"},    {"a frog", "ribbit"},
    {"a bee", "buzz"},   {"an owl", "hoot"}, {"a snake", "hiss"},   {"a mouse", "squeak"},
    {"a horse", "neigh"}, {"a bird", "tweet"}, {"a crow", "caw"},   {"a rooster", "cock-a-doodle-doo"},
};

static const struct pair young[] = {
    {"dog", "puppy"},  {"cat", "kitten"},  {"cow", "calf"},    {"horse", "foal"},
    {"sheep", "lamb"}, {"hen", "chick"},   {"duck", "duckling"}, {"bear", "cub"},
    {"goat", "kid"},   {"frog", "tadpole"}, {"swan", "cygnet"}, {"kangaroo", "joey"},
};

static const struct pair homes[] = {
    {"Bees", "a hive"},    {"Birds", "a nest"},       {"Fish", "the water"},
    {"Rabbits", "a burrow"}, {"Bears", "a den"},      {"Horses", "a stable"},
    {"Spiders", "a web"},  {"Penguins", "the cold south"}, {"Camels", "the desert"},
    {"Cows", "a barn"},    {"Monkeys", "the trees"},  {"Whales", "the ocean"},
};

static const struct pair makers[] = {
    {"A baker", "bakes bread"},          {"A teacher", "teaches children"},
    {"A doctor", "helps sick people"},   {"A farmer", "grows food"},
    {"A pilot", "flies planes"},         {"A cook", "makes meals"},
    {"A painter", "paints pictures"},    {"A writer", "writes books"},
    {"A gardener", "takes care of plants"}, {"A sailor", "sails ships"},
    {"A singer", "sings songs"},         {"A carpenter", "works with wood"},
    {"A firefighter", "puts out fires"}, {"A dentist", "takes care of teeth"},
    {"A musician", "plays music"},       {"A tailor", "makes clothes"},
};

/* Question, and the answer cut where a prompt may stop. */
static const struct {
    const char *question, *head, *tail;
} knowledge[] = {
    {"How many days are there in a week?", "There are seven", " days in a week."},
    {"How many months are there in a year?", "There are twelve", " months in a year."},
    {"How many hours are there in a day?", "There are 24", " hours in a day."},
    {"How many minutes are there in an hour?", "There are 60", " minutes in an hour."},
    {"How many seconds are there in a minute?", "There are 60", " seconds in a minute."},
    {"How many days are there in a year?", "There are 365", " days in a year."},
    {"How many legs does a spider have?", "A spider has", " eight legs."},
    {"How many legs does an insect have?", "An insect has", " six legs."},
    {"How many legs does a dog have?", "A dog has", " four legs."},
    {"How many wheels does a car have?", "A car has", " four wheels."},
    {"How many wheels does a bicycle have?", "A bicycle has", " two wheels."},
    {"How many sides does a triangle have?", "A triangle has", " three sides."},
    {"How many sides does a square have?", "A square has", " four sides."},
    {"How many fingers are on one hand?", "One hand has", " five fingers."},
    {"How many continents are there?", "There are seven", " continents."},
    {"How many planets are in the solar system?", "There are eight", " planets in the solar system."},
    {"How many letters are in the English alphabet?", "The English alphabet has", " 26 letters."},
    {"What do we call frozen water?", "Frozen water is called", " ice."},
    {"What is the largest planet?", "The largest planet is", " Jupiter."},
    {"What is the largest ocean?", "The largest ocean is", " the Pacific Ocean."},
    {"What is the largest animal?", "The largest animal is", " the blue whale."},
    {"What is the tallest animal?", "The tallest animal is", " the giraffe."},
    {"What is the fastest land animal?", "The fastest land animal is", " the cheetah."},
    {"What is the highest mountain?", "The highest mountain is", " Mount Everest."},
    {"Which planet is the red planet?", "The red planet is", " Mars."},
    {"Which planet do we live on?", "We live on", " the planet Earth."},
    {"What is the closest star to Earth?", "The closest star to Earth is", " the Sun."},
    {"What goes around the Earth?", "The Moon", " goes around the Earth."},
    {"What do bees make?", "Bees make", " honey."},
    {"What do cows give us?", "Cows give us", " milk."},
    {"What do hens lay?", "Hens lay", " eggs."},
    {"What do plants need to grow?", "Plants need", " water, light and air to grow."},
    {"What is bread made from?", "Bread is made from", " flour and water."},
    {"What is cheese made from?", "Cheese is made from", " milk."},
    {"What is paper made from?", "Paper is made from", " wood."},
    {"What is glass made from?", "Glass is made from", " sand."},
    {"Where does the sun rise?", "The sun rises in", " the east."},
    {"Where does the sun set?", "The sun sets in", " the west."},
    {"At what temperature does water boil?", "Water boils at", " 100 degrees Celsius."},
    {"At what temperature does water freeze?", "Water freezes at", " 0 degrees Celsius."},
    {"What is the chemical formula of water?", "The chemical formula of water is", " H2O."},
    {"What color do you get when you mix blue and yellow?", "Blue and yellow make", " green."},
    {"What color do you get when you mix red and yellow?", "Red and yellow make", " orange."},
    {"What color do you get when you mix red and blue?", "Red and blue make", " purple."},
    {"Who wrote Romeo and Juliet?", "Romeo and Juliet was written by", " William Shakespeare."},
    {"Who painted the Mona Lisa?", "The Mona Lisa was painted by", " Leonardo da Vinci."},
    {"Who was the first person on the Moon?", "The first person on the Moon was", " Neil Armstrong."},
    {"What language do people speak in France?", "People in France speak", " French."},
    {"What language do people speak in Spain?", "People in Spain speak", " Spanish."},
    {"What language do people speak in Germany?", "People in Germany speak", " German."},
    {"What language do people speak in Italy?", "People in Italy speak", " Italian."},
    {"What language do people speak in Japan?", "People in Japan speak", " Japanese."},
    {"What language do people speak in Brazil?", "People in Brazil speak", " Portuguese."},
    {"What are the four seasons?", "The four seasons are", " spring, summer, autumn and winter."},
    {"What are the primary colors?", "The primary colors are", " red, yellow and blue."},
    {"What are the days of the week?", "The days of the week are",
     " Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday."},
    {"What are the months of the year?", "The months of the year are",
     " January, February, March, April, May, June, July, August, September, October, November and "
     "December."},
    {"What season comes after winter?", "After winter comes", " spring."},
    {"What season comes after spring?", "After spring comes", " summer."},
    {"What season comes after summer?", "After summer comes", " autumn."},
    {"What season comes after autumn?", "After autumn comes", " winter."},
    {"What do we use to write?", "We write with", " a pen or a pencil."},
    {"What do we use to tell the time?", "We tell the time with", " a clock."},
    {"What do we see with?", "We see with", " our eyes."},
    {"What do we hear with?", "We hear with", " our ears."},
    {"What is a group of stars called?", "A large group of stars is called", " a galaxy."},
    {"What is the first letter of the alphabet?", "The first letter of the alphabet is", " A."},
    {"What is the last letter of the alphabet?", "The last letter of the alphabet is", " Z."},
    {"Is a tomato a fruit?", "Yes, a tomato is", " a fruit."},
    {"Is a whale a fish?", "No, a whale is", " a mammal."},
    {"Is the Earth round?", "Yes, the Earth is", " round."},
};

/* ---- forms ---- */

#define SET(field, ...) snprintf(fact->field, sizeof fact->field, __VA_ARGS__)

/* Most answers are the statement itself. */
static void answer_with_statement(struct train_fact *fact)
{
    SET(answer, "%s%s", fact->head, fact->tail);
}

static void start_with_capital(char *text)
{
    if (text[0] >= 'a' && text[0] <= 'z')
        text[0] = (char)(text[0] - 'a' + 'A');
}

static void fill_capital(struct train_fact *fact, struct train_random *random)
{
    const struct train_capital *c = &TRAIN_PICK(random, capitals);
    /* The first form is the one people ask for; it gets most of the weight. */
    switch (train_random_below(random, 10)) {
    case 0:
        SET(head, "%s is the capital of", c->city);
        SET(tail, " %s.", c->country);
        SET(question, train_random_chance(random, 50) ? "Which country has %s as its capital?"
                                                      : "%s is the capital of which country?",
            c->city);
        break;
    case 1:
        SET(head, "The capital city of %s is", c->country);
        SET(tail, " %s.", c->city);
        SET(question, "What is the capital city of %s?", c->country);
        break;
    case 2:
        if (c->continent) {
            SET(head, "%s is a country in", c->country);
            start_with_capital(fact->head);
            SET(tail, " %s.", c->continent);
            SET(question, train_random_chance(random, 50) ? "Where is %s?"
                                                          : "On which continent is %s?",
                c->country);
            break;
        }
        /* fall through */
    default: {
        static const struct pair questions[] = {
            {"What is the capital of ", "?"},   {"What is the capital of ", "?"},
            {"What is the capital of ", "?"},   {"Which city is the capital of ", "?"},
            {"What's the capital of ", "?"},    {"Tell me the capital of ", "."},
            {"Name the capital of ", "."},      {"Can you tell me the capital of ", "?"},
            {"Do you know the capital of ", "?"}, {"Capital of ", "?"},
        };
        const struct pair *p = &TRAIN_PICK(random, questions);
        SET(head, "The capital of %s is", c->country);
        SET(tail, " %s.", c->city);
        SET(question, "%s%s%s", p->left, c->country, p->right);
        break;
    }
    }
    answer_with_statement(fact);
}

void train_sum_pick(struct train_sum *sum, struct train_random *random)
{
    unsigned kind = train_random_below(random, 8);
    if (kind < 3) {
        sum->sign = '+';
        sum->word = "plus";
        sum->a = train_random_between(random, 0, 12);
        sum->b = train_random_between(random, 0, 12);
        sum->result = sum->a + sum->b;
    } else if (kind < 5) {
        sum->sign = '-';
        sum->word = "minus";
        sum->a = train_random_between(random, 0, 20);
        sum->b = train_random_between(random, 0, sum->a < 10 ? sum->a : 10);
        sum->result = sum->a - sum->b;
    } else if (kind < 7) {
        sum->sign = '*';
        sum->word = "times";
        sum->a = train_random_between(random, 0, 10);
        sum->b = train_random_between(random, 0, 10);
        sum->result = sum->a * sum->b;
    } else {
        sum->sign = '/';
        sum->word = "divided by";
        sum->b = train_random_between(random, 1, 10);
        sum->result = train_random_between(random, 0, 10);
        sum->a = sum->b * sum->result;
    }
}

static void fill_arithmetic(struct train_fact *fact, struct train_random *random)
{
    struct train_sum sum;
    train_sum_pick(&sum, random);
    if (train_random_chance(random, 75)) {
        SET(head, "%d %c %d =", sum.a, sum.sign, sum.b);
        SET(tail, " %d", sum.result);
        if (train_random_chance(random, 80))
            SET(question, "What is %d %c %d?", sum.a, sum.sign, sum.b);
        else
            SET(question, "Calculate %d %c %d.", sum.a, sum.sign, sum.b);
    } else {
        SET(head, "%d %s %d is", sum.a, sum.word, sum.b);
        SET(tail, " %d.", sum.result);
        if (train_random_chance(random, 60))
            SET(question, "What is %d %s %d?", sum.a, sum.word, sum.b);
        else
            SET(question, "How much is %d %s %d?", sum.a, sum.word, sum.b);
    }
    answer_with_statement(fact);
}

static void fill_number(struct train_fact *fact, struct train_random *random)
{
    int a = train_random_between(random, 0, 20), b = train_random_between(random, 0, 20);
    switch (train_random_below(random, 4)) {
    case 0:
        SET(head, "The number after %d is", a);
        SET(tail, " %d.", a + 1);
        SET(question, "What number comes after %d?", a);
        break;
    case 1:
        SET(head, "The number before %d is", a + 1);
        SET(tail, " %d.", a);
        SET(question, "What number comes before %d?", a + 1);
        break;
    case 2:
        SET(head, "The number %d is", a);
        SET(tail, " %s.", a % 2 ? "odd" : "even");
        SET(question, "Is %d even or odd?", a);
        break;
    default:
        b += b == a;
        SET(head, "%d is", a);
        SET(tail, " %s than %d.", a > b ? "greater" : "less", b);
        SET(question, "Is %d greater than %d?", a, b);
        SET(answer, "%s, %d is %s than %d.", a > b ? "Yes" : "No", a, a > b ? "greater" : "less", b);
        return;
    }
    answer_with_statement(fact);
}

static void fill_calendar(struct train_fact *fact, struct train_random *random)
{
    bool month = train_random_chance(random, 50);
    const char *const *names = month ? months : days, *unit = month ? "month" : "day";
    size_t count = month ? TRAIN_COUNT(months) : TRAIN_COUNT(days);
    size_t at = train_random_below(random, count);
    const char *now = names[at], *next = names[(at + 1) % count];
    switch (train_random_below(random, 5)) {
    case 0:
    case 1:
        SET(head, "The %s after %s is", unit, now);
        SET(tail, " %s.", next);
        SET(question, train_random_chance(random, 50) ? "What %s comes after %s?"
                                                      : "Which %s is after %s?",
            unit, now);
        break;
    case 2:
        SET(head, "The %s before %s is", unit, next);
        SET(tail, " %s.", now);
        SET(question, "What %s comes before %s?", unit, next);
        break;
    case 3:
        SET(head, "The %s %s of the %s is", ordinals[at], unit, month ? "year" : "week");
        SET(tail, " %s.", now);
        SET(question, "What is the %s %s of the %s?", ordinals[at], unit, month ? "year" : "week");
        break;
    default:
        SET(head, "If today is %s, tomorrow is", days[at % 7]);
        SET(tail, " %s.", days[(at + 1) % 7]);
        SET(question, "Today is %s. What day is tomorrow?", days[at % 7]);
        break;
    }
    answer_with_statement(fact);
}

static void fill_color(struct train_fact *fact, struct train_random *random)
{
    const struct pair *p = &TRAIN_PICK(random, colors);
    const char *word = train_random_chance(random, 75) ? "color" : "colour";
    if (train_random_chance(random, 50)) {
        SET(head, "The %s of %s is", word, p->left);
        SET(tail, " %s.", p->right);
        SET(question, "What is the %s of %s?", word, p->left);
    } else {
        SET(head, "%s is", p->left);
        start_with_capital(fact->head);
        SET(tail, " %s.", p->right);
        SET(question, "What %s is %s?", word, p->left);
    }
    answer_with_statement(fact);
}

static void fill_opposite(struct train_fact *fact, struct train_random *random)
{
    const struct pair *p = &TRAIN_PICK(random, opposites);
    bool swap = train_random_chance(random, 50);
    const char *left = swap ? p->right : p->left, *right = swap ? p->left : p->right;
    SET(head, "The opposite of %s is", left);
    SET(tail, " %s.", right);
    SET(question, "What is the opposite of %s?", left);
    answer_with_statement(fact);
}

static void fill_animal(struct train_fact *fact, struct train_random *random)
{
    switch (train_random_below(random, 3)) {
    case 0: {
        const struct pair *p = &TRAIN_PICK(random, sounds);
        SET(head, "%s says", p->left);
        start_with_capital(fact->head);
        SET(tail, " %s.", p->right);
        SET(question, "What does %s say?", p->left);
        break;
    }
    case 1: {
        const struct pair *p = &TRAIN_PICK(random, young);
        SET(head, "A young %s is called a", p->left);
        SET(tail, " %s.", p->right);
        SET(question, "What is a young %s called?", p->left);
        break;
    }
    default: {
        const struct pair *p = &TRAIN_PICK(random, homes);
        SET(head, "%s live in", p->left);
        SET(tail, " %s.", p->right);
        SET(question, "Where do %s live?", p->left);
        size_t at = strlen("Where do ");
        fact->question[at] = (char)(fact->question[at] - 'A' + 'a');
        break;
    }
    }
    answer_with_statement(fact);
}

static void fill_maker(struct train_fact *fact, struct train_random *random)
{
    const struct pair *p = &TRAIN_PICK(random, makers);
    SET(head, "%s", p->left);
    SET(tail, " %s.", p->right);
    SET(question, "What does a%s do?", p->left + 1);
    answer_with_statement(fact);
}

static void fill_knowledge(struct train_fact *fact, struct train_random *random)
{
    size_t at = train_random_below(random, TRAIN_COUNT(knowledge));
    SET(head, "%s", knowledge[at].head);
    SET(tail, "%s", knowledge[at].tail);
    SET(question, "%s", knowledge[at].question);
    answer_with_statement(fact);
}

/* ---- public ---- */

void train_fact_fill(struct train_fact *fact, struct train_random *random)
{
    static const struct {
        unsigned weight;
        void (*fill)(struct train_fact *, struct train_random *);
    } kinds[] = {
        {30, fill_capital},  {24, fill_arithmetic}, {7, fill_number}, {9, fill_calendar}, {6, fill_color},
        {7, fill_opposite}, {6, fill_animal},      {3, fill_maker},  {12, fill_knowledge},
    };
    unsigned total = 0;
    for (size_t i = 0; i < TRAIN_COUNT(kinds); i++)
        total += kinds[i].weight;
    unsigned at = train_random_below(random, total);
    for (size_t i = 0; i < TRAIN_COUNT(kinds); i++) {
        if (at < kinds[i].weight) {
            kinds[i].fill(fact, random);
            return;
        }
        at -= kinds[i].weight;
    }
}

const struct train_capital *train_corpus_capitals(size_t *count)
{
    *count = TRAIN_COUNT(capitals);
    return capitals;
}
