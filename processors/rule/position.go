package rule

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"kemi.dev/kemi/internal/conf"
)

// place finds where a byte of a scalar's text stands in the file it was read from. YAML folds, indents and escapes,
// but it keeps the order of everything that is not white space: text and source are walked side by side. If they do
// not agree (an alias, a rare escape) the place is that of the scalar.
func place(source string, at conf.Pos, text string, offset int) conf.Pos {
	c, ok := openScalar(source, at)
	if !ok {
		return at
	}
	for i, r := range text {
		if unicode.IsSpace(r) {
			continue
		}
		c.skipSpace()
		got, width := c.next()
		if got != r {
			return at
		}
		if i+utf8.RuneLen(r) > offset {
			return conf.Pos{File: at.File, Line: c.line, Column: c.column}
		}
		c.advance(width)
	}
	return conf.Pos{File: at.File, Line: c.line, Column: c.column} // Just behind the text.
}

// cursor is a place in the source, with the style of the scalar it is in.
type cursor struct {
	rest         string
	line, column int
	quote        byte // ' or ", 0 for a plain or block scalar
}

// openScalar puts a cursor on the first character of a scalar's content.
func openScalar(source string, at conf.Pos) (*cursor, bool) {
	c := &cursor{rest: source, line: 1, column: 1}
	for c.line < at.Line {
		i := strings.IndexByte(c.rest, '\n')
		if i < 0 {
			return nil, false
		}
		c.rest = c.rest[i+1:]
		c.line++
	}
	for c.column < at.Column && c.rest != "" {
		_, width := utf8.DecodeRuneInString(c.rest)
		c.advance(width)
	}
	if c.rest == "" {
		return nil, false
	}
	switch c.rest[0] {
	case '|', '>':
		i := strings.IndexByte(c.rest, '\n')
		if i < 0 {
			return nil, false
		}
		c.rest, c.line, c.column = c.rest[i+1:], c.line+1, 1
	case '\'', '"':
		c.quote = c.rest[0]
		c.advance(1)
	}
	return c, true
}

// advance moves over n bytes of one character or escape.
func (c *cursor) advance(n int) {
	for n > 0 && c.rest != "" {
		r, width := utf8.DecodeRuneInString(c.rest)
		c.rest = c.rest[width:]
		n -= width
		if c.column++; r == '\n' {
			c.line, c.column = c.line+1, 1
		}
	}
}

// skipSpace moves over white space, written or escaped.
func (c *cursor) skipSpace() {
	for c.rest != "" {
		r, width := c.next()
		if !unicode.IsSpace(r) {
			return
		}
		c.advance(width)
	}
}

// next decodes the character at the cursor and says how many bytes it takes in the source.
func (c *cursor) next() (rune, int) {
	if c.quote == '\'' && strings.HasPrefix(c.rest, "''") {
		return '\'', 2
	}
	if c.quote == '"' && len(c.rest) > 1 && c.rest[0] == '\\' {
		switch e := c.rest[1]; e {
		case 'n', 't', 'r', ' ', '\n':
			return ' ', 2
		default:
			return rune(e), 2
		}
	}
	return utf8.DecodeRuneInString(c.rest)
}
