package conf

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxWeight bounds the number of values a document may hold once its aliases are written out, so that a few lines of
// aliases of aliases cannot exhaust memory.
const maxWeight = 20_000_000

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

// reader turns the parser's tree into nodes.
type reader struct {
	file     string
	lookup   func(string) (string, bool) // nil: expand nothing
	anchors  map[string]*value
	problems Problems
}

func parse(file string, data []byte, lookup func(string) (string, bool)) (nodes []Node, problems Problems) {
	start := Pos{File: file, Line: 1, Column: 1}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")) // the parser counts some of them as two lines
	if !utf8.Valid(data) {
		line, column := firstInvalid(data)
		return nil, Problems{Pos{File: file, Line: line, Column: column}.Problem("this is not UTF-8 text", "save the file as UTF-8")}
	}
	defer func() {
		// The parser is foreign code that indexes its tokens freely; text it trips over is a mistake in the file, not a
		// reason to stop a running system on reload.
		if r := recover(); r != nil {
			nodes, problems = nil, Problems{start.Problem("this cannot be read as YAML", "look for unbalanced quotes, brackets or indentation")}
		}
	}()
	if head := bytes.TrimLeft(data, " \t\n"); len(head) > 0 && (head[0] == '{' || head[0] == '[') {
		data = spacedOut(data)
	}
	tokens := lexer.Tokenize(string(data))
	if tk := tooDeep(tokens); tk != nil {
		at := Pos{File: file, Line: tk.Position.Line, Column: tk.Position.Column}
		return nil, Problems{at.Problem("this is nested far too deeply", "use fewer levels")}
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, Problems{syntaxProblem(start, data, err)}
	}
	r := &reader{file: file, lookup: lookup}
	for _, doc := range tree.Docs {
		r.anchors = map[string]*value{}
		if _, ok := doc.Body.(*ast.DirectiveNode); ok {
			continue
		}
		at := start
		if doc.Start != nil {
			at = r.at(doc.Start)
		}
		v := &value{pos: at, kind: Null}
		if doc.Body != nil {
			v = r.read(doc.Body, at)
		}
		nodes = append(nodes, Node{v})
	}
	if len(nodes) == 0 {
		nodes = []Node{{&value{pos: start, kind: Null}}}
	}
	return nodes, r.problems.sorted()
}

func (r *reader) at(tk *token.Token) Pos {
	if tk == nil || tk.Position == nil {
		return Pos{File: r.file, Line: 1, Column: 1}
	}
	return Pos{File: r.file, Line: tk.Position.Line, Column: max(tk.Position.Column, 1)}
}

func (r *reader) complain(at Pos, what, do string) {
	r.problems = append(r.problems, at.Problem(what, do))
}

// bad complains about a value and returns what stands for it.
func (r *reader) bad(at Pos, what, do string) *value {
	r.complain(at, what, do)
	return &value{pos: at, kind: Null, bad: true}
}

// read returns the value of a tree; at is where to say it is when the tree does not know.
func (r *reader) read(n ast.Node, at Pos) *value {
	if n == nil {
		return &value{pos: at, kind: Null}
	}
	if tk := n.GetToken(); tk != nil {
		at = r.at(tk)
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return &value{pos: at, kind: Null}
	case *ast.BoolNode:
		return &value{pos: at, kind: Scalar, text: n.Token.Value, plain: true, data: n.Value}
	case *ast.IntegerNode:
		return &value{pos: at, kind: Scalar, text: n.Token.Value, plain: true, data: n.Value}
	case *ast.FloatNode:
		return &value{pos: at, kind: Scalar, text: n.Token.Value, plain: true, data: n.Value}
	case *ast.InfinityNode:
		return &value{pos: at, kind: Scalar, text: n.Token.Value, plain: true, data: n.Value}
	case *ast.NanNode:
		return &value{pos: at, kind: Scalar, text: n.Token.Value, plain: true, data: n.GetValue()}
	case *ast.StringNode:
		return r.text(n.Value, n.Token.Type == token.StringType, at)
	case *ast.LiteralNode:
		return r.text(n.Value.Value, false, at)
	case *ast.SequenceNode:
		v := &value{pos: at, kind: List, vals: make([]Node, 0, len(n.Values))}
		for _, item := range n.Values {
			child := r.read(item, at)
			v.vals = append(v.vals, Node{child})
			v.weight += 1 + child.weight
		}
		return r.bounded(v)
	case *ast.MappingNode:
		return r.mapping(n.Values, at, n.IsFlowStyle)
	case *ast.MappingValueNode:
		return r.mapping([]*ast.MappingValueNode{n}, at, n.IsFlowStyle)
	case *ast.AnchorNode:
		v := r.read(n.Value, at)
		r.anchors[n.Name.GetToken().Value] = v
		return v
	case *ast.AliasNode:
		return r.alias(n, at)
	case *ast.TagNode:
		return r.tagged(n, at)
	default:
		return r.bad(at, "this cannot be used as a value", "write text, a number, a list or a mapping")
	}
}

func (r *reader) bounded(v *value) *value {
	if v.weight <= maxWeight {
		return v
	}
	return r.bad(v.pos, "aliases make this far too large", "write out the few values that are needed")
}

// text returns a scalar, with its variables expanded when that was asked for.
func (r *reader) text(s string, plain bool, at Pos) *value {
	v := &value{pos: at, kind: Scalar, text: s, plain: plain, data: s}
	if r.lookup != nil && strings.Contains(s, "$") {
		out, used, problems := expand(s, r.lookup, at)
		r.problems = append(r.problems, problems...)
		v.text, v.data, v.bad = out, out, len(problems) > 0
		if used {
			v.source = s
		}
	}
	if plain {
		v.data = resolve(v.text)
	}
	return v
}

// resolve gives text written without quotes the type it looks like. The parser has done that already, but not for what
// comes from the environment, nor for the numbers with an exponent that JSON allows.
func resolve(s string) any {
	switch s {
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	case "":
		return s
	}
	if c := s[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return s
	}
	if num := token.ToNumber(s); num != nil {
		return num.Value
	}
	if !strings.ContainsAny(s, "xXpP_") && s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return f
		}
	}
	return s
}

func (r *reader) alias(n *ast.AliasNode, at Pos) *value {
	name := n.Value.GetToken().Value
	target, ok := r.anchors[name]
	if !ok {
		known := make([]string, 0, len(r.anchors))
		for k := range r.anchors {
			known = append(known, k)
		}
		do := "define &" + name + " above this line"
		if near := Nearest(name, known); near != "" {
			do = "did you mean *" + near + "?"
		}
		return r.bad(at, "unknown alias *"+name, do)
	}
	here := *target // the children are shared; only the place is that of the alias
	here.pos = at
	return &here
}

func (r *reader) tagged(n *ast.TagNode, at Pos) *value {
	v := r.read(n.Value, at)
	switch tag := n.Start.Value; tag {
	case "!!str":
		if v.kind == Scalar {
			v.data, v.plain = v.text, false
		} else if v.kind == Null {
			v.kind, v.data = Scalar, ""
		}
	case "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
	default:
		return r.bad(at, fmt.Sprintf("the tag %s is not supported", tag), "remove the tag and write the value itself")
	}
	return v
}

// mapping reads the pairs of a mapping. Pairs written out win over pairs merged in with <<.
func (r *reader) mapping(pairs []*ast.MappingValueNode, at Pos, flow bool) *value {
	v := &value{pos: at, kind: Map, keys: make([]Node, 0, len(pairs)), vals: make([]Node, 0, len(pairs))}
	if !flow && len(pairs) > 0 && pairs[0].Key != nil {
		v.pos = r.at(pairs[0].Key.GetToken()) // the parser gives the colon of the first pair
	}
	var merged []*value
	for _, pair := range pairs {
		keyAt := r.at(pair.Key.GetToken())
		val := r.read(pair.Value, keyAt)
		if pair.Value.GetToken().Type == token.ImplicitNullType {
			val.pos = keyAt // there is nothing after the colon to point at
		}
		if pair.Key.IsMergeKey() {
			merged = append(merged, val)
			continue
		}
		key, ok := r.key(pair.Key, keyAt)
		if !ok {
			continue
		}
		if i := (Node{v}).find(key.text); i >= 0 {
			r.complain(keyAt, fmt.Sprintf("key %q is given twice, first on line %d", key.text, v.keys[i].Line()), "keep one of the two")
			continue
		}
		v.add(Node{key}, Node{val})
	}
	for _, m := range merged {
		r.merge(v, m)
	}
	return r.bounded(v)
}

func (r *reader) key(k ast.MapKeyNode, at Pos) (*value, bool) {
	var n ast.Node = k
	if m, ok := k.(*ast.MappingKeyNode); ok {
		n = m.Value
	}
	raw := *r
	raw.lookup, raw.problems = nil, nil
	key := raw.read(n, at)
	r.problems = append(r.problems, raw.problems...)
	if key.kind == Null && len(raw.problems) == 0 && n.GetToken() != nil && n.GetToken().Value != "" {
		key = &value{pos: at, kind: Scalar, text: n.GetToken().Value} // a key such as null or ~
	}
	if key.kind != Scalar {
		if len(raw.problems) == 0 {
			r.complain(at, "a key must be text", "write the key as one word, in quotes if need be")
		}
		return nil, false
	}
	return key, true
}

func (r *reader) merge(into, from *value) {
	if from.bad {
		return
	}
	switch from.kind {
	case Map:
		for i, key := range from.keys {
			if (Node{into}).find(key.v.text) < 0 {
				into.add(key, from.vals[i])
			}
		}
	case List:
		for _, one := range from.vals {
			if one.Kind() == Map || one.v.bad {
				r.merge(into, one.v)
			} else {
				r.complain(one.Pos(), "<< can only merge mappings", "name mappings, like <<: [*base, *more]")
			}
		}
	default:
		r.complain(from.pos, "<< can only merge mappings", "name a mapping, like <<: *base")
	}
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
