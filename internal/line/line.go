// Package line decides how text that others wrote stands in a line of ours.
//
// In: names, labels, annotations and comments, as they came. Out: one line, or lines that are marked as somebody's words.
// It promises that such a text never ends a line, moves the cursor or turns the direction of writing, that one which begins
// a line does not look like a line of a page's own, and that a text is read no further than it is shown.
// It never escapes for HTML, JSON or a shell: whoever writes those does.
package line

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Of makes one line of any text, of at most so many characters: what ends a line, moves the cursor, turns the direction of
// writing or is no UTF-8 becomes a space, and spaces are written once.
func Of(s string, most int) string {
	var b strings.Builder
	n, gap := 0, false
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") || Hidden(r) || unicode.IsSpace(r) {
			gap = n > 0
			continue
		}
		need := 1
		if gap {
			need = 2
		}
		if n+need > most {
			b.WriteString("…")
			break
		}
		if gap {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		n, gap = n+need, false
	}
	return b.String()
}

// Hidden reports control characters, and those that reorder or hide text.
func Hidden(r rune) bool {
	switch {
	case unicode.IsControl(r),
		r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F,
		r == 0x2028, r == 0x2029, r == 0xFEFF, r == 0x061C, r >= 0xFFF9 && r <= 0xFFFB, r >= 0xE0000 && r <= 0xE007F:
		return true
	default:
		return false
	}
}

// Shown makes a text of many lines, or a page, harmless to look at: what is Hidden becomes a space, but for the ends of lines
// and tabs.
func Shown(s string) string {
	return strings.Map(func(r rune) rune {
		if Hidden(r) && r != '\n' && r != '\r' && r != '\t' {
			return ' '
		}
		return r
	}, s)
}

// own are the words that lines of a page begin with, up to the colon.
var own = [...]string{
	"where", "since", "until", "how bad", "cause", "suppressed", "changed lately", "mind", "looked after by", "told", "next",
	"acknowledge", "incident", "incidents", "graph", "graphs", "runbook", "graph of", "graphs of", "runbook of",
	"alerts", "subject", "teams", "suspected", "still there", "over by now", "all of them", "http", "https",
}

// ours reports whether a line begins as those of a page do: with a word of its own, a bullet or a mark.
func ours(s string) bool {
	if s = strings.ToLower(strings.TrimLeftFunc(s, unicode.IsSpace)); strings.HasPrefix(s, "-") || strings.HasPrefix(s, "|") || strings.HasPrefix(s, "[") {
		return true
	}
	for _, word := range own {
		rest, begins := strings.CutPrefix(s, word)
		if !begins {
			continue
		}
		if rest = strings.TrimLeft(rest, " "); strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, "：") || strings.HasSuffix(word, " of") && strings.Contains(rest, ":") {
			return true
		}
	}
	return false
}

// Start is Of for a text that begins a line: one that looks like a line of a page's own is put into quotation marks.
func Start(s string, most int) string {
	s = Of(s, most)
	if ours(s) {
		return "“" + s + "”"
	}
	return s
}

// Quoted makes lines of a text, without the empty ones, at most so many characters and lines; each begins with a mark, so
// that none looks like one of ours.
func Quoted(s string, most, mostLines int) string {
	return each(s, most, mostLines, func(one string) string { return "| " + one })
}

// Several makes lines of a text of our own that has words of others in it, as Quoted does but without the mark.
func Several(s string, most, mostLines int) string {
	return each(s, most, mostLines, func(one string) string { return one })
}

func each(s string, most, mostLines int, write func(string) string) string {
	var out []string
	for one := range strings.Lines(s) {
		if most <= 0 || len(out) == mostLines {
			out = append(out, write("…"))
			break
		}
		if one = Of(one, most); one != "" {
			out = append(out, write(one))
			most -= utf8.RuneCountInString(one) + 1
		}
	}
	return strings.Join(out, "\n")
}
