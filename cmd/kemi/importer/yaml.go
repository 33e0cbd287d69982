package importer

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What is written: mapping, []any, text, raw (a number or truth value as it stands) and bool.
type (
	mapping []pair
	pair    struct {
		key     string
		value   any
		comment string // One line above it.
	}
	// raw stands as it is.
	raw string
	// variable is the name of an environment variable whose value is meant.
	variable string
)

func (m *mapping) add(key string, value any) {
	if value != nil {
		*m = append(*m, pair{key: key, value: value})
	}
}

func (m mapping) get(key string) any {
	for _, p := range m {
		if p.key == key {
			return p.value
		}
	}
	return nil
}

func (m mapping) without(keys ...string) mapping {
	return slices.DeleteFunc(slices.Clone(m), func(p pair) bool { return slices.Contains(keys, p.key) })
}

// writer writes YAML as people do: what is short on one line, text without quotes where that is safe.
type writer struct {
	out bytes.Buffer
	// dollars doubles the dollars in text that Kemi would take for a variable.
	dollars bool
}

// width is how long a line may get before a list or mapping is written one entry a line.
const width = 110

func (w *writer) block(v any, indent int) {
	pad := strings.Repeat("  ", indent)
	switch v := v.(type) {
	case mapping:
		for _, p := range v {
			if p.comment != "" {
				w.out.WriteString(pad + "# " + p.comment + "\n")
			}
			w.out.WriteString(pad + w.word(p.key, false) + ":")
			w.after(p.value, indent)
		}
	case []any:
		for _, item := range v {
			w.out.WriteString(pad + "-")
			if m, ok := item.(mapping); ok && len(m) > 0 && w.flow(m, indent) == "" {
				// The first key stands behind the dash.
				var inner writer
				inner.dollars = w.dollars
				inner.block(m, indent+1)
				w.out.WriteString(" " + strings.TrimPrefix(inner.out.String(), pad+"  "))
				continue
			}
			w.after(item, indent)
		}
	}
}

// after writes what stands behind a colon or dash, to the end of the line and below.
func (w *writer) after(v any, indent int) {
	if s, ok := v.(string); ok {
		if text := w.literal(s, indent); text != "" {
			w.out.WriteString(" " + text)
			return
		}
	}
	if line := w.flow(v, indent); line != "" {
		w.out.WriteString(" " + line + "\n")
		return
	}
	w.out.WriteString("\n")
	w.block(v, indent+1)
}

// flow writes a value on one line, or returns "" when it is too long, or too deep to be read well so.
func (w *writer) flow(v any, indent int) string {
	var parts []string
	open, end := "[", "]"
	switch v := v.(type) {
	case mapping:
		open, end = "{", "}"
		for _, p := range v {
			part := w.flow(p.value, indent)
			if part == "" || p.comment != "" || strings.HasPrefix(part, "{") && part != "{}" {
				return ""
			}
			parts = append(parts, w.word(p.key, false)+": "+part)
		}
		if len(parts) > 3 {
			return ""
		}
	case []any:
		for _, item := range v {
			part := w.flow(item, indent)
			if _, nested := item.(mapping); part == "" || nested {
				return ""
			}
			parts = append(parts, part)
		}
	case string:
		return w.word(v, true)
	case raw:
		return string(v)
	case variable:
		return `"${` + string(v) + `}"`
	case bool:
		if v {
			return "true"
		}
		return "false"
	}
	line := open + strings.Join(parts, ", ") + end
	if len(line)+2*indent > width {
		return ""
	}
	return line
}

var (
	// plain matches text that no reader of YAML takes for anything else, but for the words below.
	plain = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./@+-]*( [A-Za-z0-9_./@+-]+)*$|^[0-9]+(ms|s|m|h|d|w|y)$`)
	taken = []string{"y", "yes", "n", "no", "on", "off", "true", "false", "null"}
)

// word writes text on one line. Dollars are doubled in values only: keys are never expanded.
func (w *writer) word(s string, value bool) string {
	if value && w.dollars {
		s = escape(s)
	}
	if plain.MatchString(s) && !slices.Contains(taken, strings.ToLower(s)) && !strings.HasPrefix(s, ".") {
		return s
	}
	if strings.ContainsAny(s, `"\`) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) && utf8.ValidString(s) {
		return "'" + strings.ReplaceAll(s, "'", "''") + "'"
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // A string can always be encoded.
	return strings.TrimSuffix(b.String(), "\n")
}

// escape doubles the dollars that would be taken for a variable.
func escape(s string) string {
	return strings.NewReplacer("$$", "$$$$", "${", "$${").Replace(s)
}

// literal writes text of several lines as it reads, or returns "" where that cannot be done safely.
func (w *writer) literal(s string, indent int) string {
	body := strings.TrimSuffix(s, "\n")
	if !strings.Contains(body, "\n") || strings.HasSuffix(body, "\n") || !utf8.ValidString(s) {
		return ""
	}
	lines := strings.Split(body, "\n")
	for i, line := range lines {
		if strings.TrimRight(line, " \t") != line || i == 0 && (line == "" || line[0] == ' ') || strings.HasPrefix(line, "\t") ||
			strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) {
			return ""
		}
	}
	pad, head := strings.Repeat("  ", indent+1), "|\n"
	if body == s {
		head = "|-\n"
	}
	var b strings.Builder
	b.WriteString(head)
	for _, line := range lines {
		if line != "" {
			if w.dollars {
				line = escape(line)
			}
			b.WriteString(pad + line)
		}
		b.WriteString("\n")
	}
	return b.String()
}
