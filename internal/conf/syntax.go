package conf

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// documents runs the parser. It stops at the first error of syntax, because what follows one cannot be trusted.
func documents(start Pos, data []byte) (docs []*ast.DocumentNode, problem *Problem) {
	defer func() {
		// The parser is foreign code that indexes its tokens freely; text it trips over is a mistake in the file, not a
		// reason to stop a running system on reload.
		if r := recover(); r != nil {
			p := start.Problem("this cannot be read as YAML", "look for unbalanced quotes, brackets or indentation")
			docs, problem = nil, &p
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if tk := tooDeep(tokens); tk != nil {
		p := Pos{File: start.File, Line: tk.Position.Line, Column: tk.Position.Column}.Problem("this is nested far too deeply", "use fewer levels")
		return nil, &p
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p := syntaxProblem(start, data, err)
		return nil, &p
	}
	return tree.Docs, nil
}

// spacedOut replaces the tabs a JSON document is indented with by as many spaces, because the parser miscounts columns
// after them. In YAML proper, indentation by tabs is a mistake and stays.
func spacedOut(data []byte) []byte {
	out, indent := bytes.Clone(data), true
	for i, c := range out {
		switch {
		case c == '\t' && indent:
			out[i] = ' '
		case c == '\n':
			indent = true
		case c != ' ':
			indent = false
		}
	}
	return out
}

// maxDepth bounds how deep values may nest within one line or one pair of brackets: the parser's time grows with the
// square of the depth. Nesting by indentation pays for its depth in spaces and needs no bound.
const maxDepth = 200

// tooDeep returns the token at which the nesting becomes too deep, or nil.
func tooDeep(tokens token.Tokens) *token.Token {
	brackets, dashes, line := 0, 0, 0
	for _, tk := range tokens {
		if tk.Position.Line != line {
			dashes, line = 0, tk.Position.Line
		}
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets++
		case token.SequenceEndType, token.MappingEndType:
			brackets = max(0, brackets-1)
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			dashes++
		}
		// Within brackets a line holds any number of entries, but none of these marks nests there except by brackets.
		if brackets > maxDepth || brackets == 0 && dashes > maxDepth {
			return tk
		}
	}
	return nil
}

// syntaxProblem turns the parser's first error into a problem with advice.
func syntaxProblem(at Pos, data []byte, err error) Problem {
	var pretty yaml.Error
	if !errors.As(err, &pretty) {
		return at.Problem(err.Error(), "correct the YAML")
	}
	if tk := pretty.GetToken(); tk != nil && tk.Position != nil {
		at.Line, at.Column = tk.Position.Line, max(tk.Position.Column, 1)
	}
	what := strings.ReplaceAll(pretty.GetMessage(), "\t", "\\t")
	if strings.Contains(what, "'}'") && bytes.Contains(line(data, at.Line), []byte("${")) {
		return at.Problem(what, "within { } and [ ], put ${NAME} in quotes")
	}
	for _, hint := range [...]struct{ part, do string }{
		{"tab", "indent with spaces"},
		{`'\t'`, "indent with spaces"},
		{"']'", "close the list with ] and separate its entries with commas"},
		{"'}'", "close the mapping with } and separate its entries with commas"},
		{"end of double-quoted", "close the text with a quote"},
		{"end of single-quoted", "close the text with a quote"},
		{"quoted text", "close the text with a quote"},
		{"cannot start any token", "put the text in quotes"},
		{"non-map value", "write key: value, or indent the line to belong to the one above"},
		{"pre-defined", "put the text in quotes, or give this line the indentation of the one above"},
		{"mapping value is not allowed", "put text that holds a colon in quotes, or correct the indentation of the next line"},
		{"unexpected key name", "write key: value on a line of its own"},
		{"alias", "write *name for an anchor &name defined above"},
		{"anchor", "write &name before the value"},
		{"not allowed in this context", "check the indentation of this line"},
	} {
		if strings.Contains(what, hint.part) {
			return at.Problem(what, hint.do)
		}
	}
	return at.Problem(what, "correct the YAML on this line or the one above")
}

func line(data []byte, number int) []byte {
	for ; number > 1; number-- {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return line
}

func firstInvalid(data []byte) (line, column int) {
	line, column = 1, 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		if c == utf8.RuneError && size == 1 {
			break
		}
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return line, column
}
