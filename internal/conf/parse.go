package conf

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxWeight bounds the number of values a document may hold once its aliases are written out, so that a few lines of
// aliases of aliases cannot exhaust memory.
const maxWeight = 20_000_000

// reader turns the parser's tree into nodes.
type reader struct {
	file     string
	lookup   func(string) (string, bool) // nil: expand nothing
	anchors  map[string]*value
	problems Problems
}

func parse(file string, data []byte, lookup func(string) (string, bool)) ([]Node, Problems) {
	start := Pos{File: file, Line: 1, Column: 1}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")) // the parser counts some of them as two lines
	if !utf8.Valid(data) {
		line, column := firstInvalid(data)
		return nil, Problems{Pos{File: file, Line: line, Column: column}.Problem("this is not UTF-8 text", "save the file as UTF-8")}
	}
	if head := bytes.TrimLeft(data, " \t\n"); len(head) > 0 && (head[0] == '{' || head[0] == '[') {
		data = spacedOut(data)
	}
	docs, problem := documents(start, data)
	if problem != nil {
		return nil, Problems{*problem}
	}
	r := &reader{file: file, lookup: lookup}
	var nodes []Node
	for _, doc := range docs {
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
		if null, ok := pair.Value.(*ast.NullNode); ok && null.Token.Type == token.ImplicitNullType {
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
