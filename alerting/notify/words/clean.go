package words

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a message's parts, in characters: texts come from rules, devices and other people's alerts.
const (
	maxTitle       = 250
	maxName        = 120
	maxSummary     = 300
	maxDescription = 1000
	maxText        = 4000
	maxTextLines   = 60
	maxURL         = 2000 // Bytes.
)

// clean makes one line of any text, of at most so many characters: what ends a line, moves the cursor, turns the
// direction of writing or is no UTF-8 becomes a space, and spaces are written once. It reads no more than it needs.
func clean(s string, most int) string {
	var b strings.Builder
	n, gap := 0, false
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") || hidden(r) || unicode.IsSpace(r) {
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

// hidden reports control characters, and those that reorder or hide text.
func hidden(r rune) bool {
	switch {
	case unicode.IsControl(r),
		r >= 0x200B && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2060 && r <= 0x206F,
		r == 0xFEFF, r == 0x061C, r >= 0xFFF9 && r <= 0xFFFB, r >= 0xE0000 && r <= 0xE007F:
		return true
	default:
		return false
	}
}

// lines cleans a text of several lines, without the empty ones.
func lines(s string, most, mostLines int) string {
	var out []string
	for line := range strings.Lines(s) {
		if most <= 0 || len(out) == mostLines {
			out = append(out, "…")
			break
		}
		if line = clean(line, most); line != "" {
			out = append(out, line)
			most -= utf8.RuneCountInString(line) + 1
		}
	}
	return strings.Join(out, "\n")
}

// indent puts a text of several lines below a first one.
func indent(s, by string) string { return strings.ReplaceAll(s, "\n", "\n"+by) }
