#include "app/options/completion.h"

#include <stdio.h>

#include "base/text.h"

/* A text that grows; `failed` when memory was out. */
static void add_words(pli_text *self, const char *text)
{
    for (; *text; ++text) {
        const char *escape = strchr(":[]", *text) ? "\\" : "";

        pli_text_addf(self, "%s%c", escape, *text == '\'' ? '"' : *text);
    }
}

/* ---- what a value can be ---- */

typedef enum value_kind { VALUE_NONE, VALUE_ANY, VALUE_FILE, VALUE_FOLDER, VALUE_WORDS } value_kind;

static const char *words_of(const pl_option *option)
{
    static const struct {
        const char *name, *words;
    } known[] = {
        {"log-format", "text json"},
        {"completion", "bash zsh"},
        {"reactor", "auto uring epoll poll select"},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (strcmp(option->name, known[i].name) == 0)
            return known[i].words;
    return NULL;
}

static value_kind kind_of(const pl_option *option)
{
    if (!option->value || option->kind == PL_OPTION_REST)
        return VALUE_NONE;
    if (words_of(option))
        return VALUE_WORDS;
    if (strncmp(option->value, "FILE", 4) == 0)
        return VALUE_FILE;
    return strcmp(option->value, "FOLDER") == 0 ? VALUE_FOLDER : VALUE_ANY;
}

/* ---- bash ---- */

static void bash_patterns(pli_text *self, const pl_option *table, value_kind kind,
                          const char *words)
{
    bool first = true;

    for (const pl_option *option = table; option->name; ++option) {
        if (kind_of(option) != kind || (words && strcmp(words_of(option), words) != 0))
            continue;
        pli_text_addf(self, "%s--%s", first ? "        " : "|", option->name);
        if (option->letter)
            pli_text_addf(self, "|-%c", option->letter);
        first = false;
    }
    if (!first)
        pli_text_addf(self, ") ");
}

static bool has_kind(const pl_option *table, value_kind kind)
{
    for (const pl_option *option = table; option->name; ++option)
        if (kind_of(option) == kind)
            return true;
    return false;
}

/* The values of the options of a table. */
static void bash_values(pli_text *self, const pl_option *table)
{
    static const struct {
        value_kind kind;
        const char *action;
    } plain[] = {
        {VALUE_FILE, "COMPREPLY=($(compgen -f -- \"$cur\"))"},
        {VALUE_FOLDER, "COMPREPLY=($(compgen -d -- \"$cur\"))"},
        {VALUE_ANY, "COMPREPLY=()"},
    };

    pli_text_addf(self, "        case \"$prev\" in\n");
    for (const pl_option *option = table; option->name; ++option) {
        if (kind_of(option) != VALUE_WORDS)
            continue;
        bash_patterns(self, (const pl_option[]){*option, {.name = NULL}}, VALUE_WORDS, NULL);
        pli_text_addf(self, "COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return;;\n",
                      words_of(option));
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; ++i) {
        if (!has_kind(table, plain[i].kind))
            continue;
        bash_patterns(self, table, plain[i].kind, NULL);
        pli_text_addf(self, "%s; return;;\n", plain[i].action);
    }
    pli_text_addf(self, "        esac\n");
}

static void bash_names(pli_text *self, const pl_option *table)
{
    for (const pl_option *option = table; option->name; ++option)
        if (option->kind != PL_OPTION_REST)
            pli_text_addf(self, "--%s ", option->name);
}

static void bash_service(pli_text *self, const pl_plugin *plugin)
{
    static const pl_option none[] = {{.name = NULL}};
    const pl_option *table = plugin->options ? plugin->options : none;

    pli_text_addf(self, "    %s)\n", plugin->name);
    bash_values(self, table);
    pli_text_addf(self, "        COMPREPLY=($(compgen -W '");
    bash_names(self, table);
    pli_text_addf(self, "--help' -- \"$cur\"));;\n");
}

/* The first word that is neither an option nor the value of one is the service. */
static void bash_find_service(pli_text *self, const pl_option *table)
{
    pli_text_addf(self, "    for ((i = 1; i < COMP_CWORD; ++i)); do\n"
                        "        case \"${COMP_WORDS[i]}\" in\n"
                        "        ");
    for (const pl_option *option = table; option->name; ++option)
        if (option->value) {
            pli_text_addf(self, "--%s|", option->name);
            if (option->letter)
                pli_text_addf(self, "-%c|", option->letter);
        }
    pli_text_addf(self, "--) ((++i));;\n"
                        "        -*) ;;\n"
                        "        *) service=\"${COMP_WORDS[i]}\"; break;;\n"
                        "        esac\n"
                        "    done\n");
}

static void bash_make(pli_text *self, const pli_args *args)
{
    const char *name = args->kind->name;

    pli_text_addf(
        self, "# Completes command lines of %s in bash. Made by %s --completion bash.\n_%s()\n{\n",
        name, name, name);
    pli_text_addf(
        self, "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD - 1]}\" "
              "service= i\n");
    if (args->kind->named)
        bash_find_service(self, args->table);
    pli_text_addf(self, "    case \"$service\" in\n");
    for (const pl_plugin *const *at = args->plugins; args->kind->named && *at; ++at)
        bash_service(self, *at);
    pli_text_addf(self, "    *)\n");
    bash_values(self, args->table);
    pli_text_addf(self, "        COMPREPLY=($(compgen -W '");
    bash_names(self, args->table);
    for (const pl_plugin *const *at = args->plugins; args->kind->named && *at; ++at)
        pli_text_addf(self, "%s ", (*at)->name);
    pli_text_addf(self, "' -- \"$cur\"));;\n    esac\n}\ncomplete -o filenames -F _%s %s\n", name,
                  name);
}

/* ---- zsh ---- */

static void zsh_value(pli_text *self, const pl_option *option)
{
    value_kind kind = kind_of(option);

    if (kind == VALUE_NONE)
        return;
    pli_text_addf(self, ":");
    add_words(self, option->value);
    if (kind == VALUE_FILE)
        pli_text_addf(self, ":_files");
    else if (kind == VALUE_FOLDER)
        pli_text_addf(self, ":_files -/");
    else if (kind == VALUE_WORDS)
        pli_text_addf(self, ":(%s)", words_of(option));
    else
        pli_text_addf(self, ": ");
}

static void zsh_option(pli_text *self, const pl_option *option)
{
    const char *many = option->kind == PL_OPTION_TEXTS ? "*" : "";

    if (option->kind == PL_OPTION_REST) {
        pli_text_addf(self, "    '*:::%s:_normal' \\\n", option->name);
        return;
    }
    for (int form = 0; form < 2; ++form) {
        if (form && !option->letter)
            return;
        if (form)
            pli_text_addf(self, "    '%s-%c%s[", many, option->letter, option->value ? "+" : "");
        else
            pli_text_addf(self, "    '%s--%s%s[", many, option->name, option->value ? "=" : "");
        add_words(self, option->help);
        pli_text_addf(self, "]");
        zsh_value(self, option);
        pli_text_addf(self, "' \\\n");
    }
}

static void zsh_table(pli_text *self, const pl_option *table)
{
    for (const pl_option *option = table; table && option->name; ++option)
        zsh_option(self, option);
}

static void zsh_services(pli_text *self, const pli_args *args)
{
    pli_text_addf(self, "    '1:service:->service' '*::option:->option' && return\n\n"
                        "case $state in\n(service)\n    local -a services=(\n");
    for (const pl_plugin *const *at = args->plugins; *at; ++at) {
        pli_text_addf(self, "        '%s:", (*at)->name);
        add_words(self, (*at)->summary);
        pli_text_addf(self, "'\n");
    }
    pli_text_addf(self,
                  "    )\n    _describe service services;;\n(option)\n    case $words[1] in\n");
    for (const pl_plugin *const *at = args->plugins; *at; ++at) {
        pli_text_addf(self, "    (%s) _arguments \\\n", (*at)->name);
        zsh_table(self, (*at)->options);
        pli_text_addf(self, "    '--help[Show the options]';;\n");
    }
    pli_text_addf(self, "    esac;;\nesac\n");
}

static void zsh_make(pli_text *self, const pli_args *args)
{
    pli_text_addf(
        self,
        "#compdef %s\n# Made by %s --completion zsh.\n\nlocal curcontext=$curcontext state line\n",
        args->kind->name, args->kind->name);
    pli_text_addf(self, "_arguments -C \\\n");
    zsh_table(self, args->table);
    if (args->kind->named)
        zsh_services(self, args);
    else
        pli_text_addf(self, "    && return\n");
}

char *pli_completion_make(const pli_args *args)
{
    pli_text self = {0};

    if (strcmp(args->options->completion, "zsh") == 0)
        zsh_make(&self, args);
    else
        bash_make(&self, args);
    if (self.failed) {
        pli_text_done(&self);
        return NULL;
    }
    return self.bytes;
}
