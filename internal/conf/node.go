package conf

import "slices"

// Kind says what a Node holds.
type Kind int

// The kinds of a Node. The zero Node (absent) is of kind Null too; IsZero tells the two apart.
const (
	Null Kind = iota
	Scalar
	Map
	List
)

// String returns the kind in words.
func (k Kind) String() string {
	switch k {
	case Scalar:
		return "a value"
	case Map:
		return "a mapping"
	case List:
		return "a list"
	default:
		return "nothing"
	}
}

// Node is one value of a parsed document together with its position. It is small and immutable: copy it freely. The zero
// Node stands for "absent"; all its methods work.
type Node struct{ v *value }

// value is the tree behind Node. Aliased parts are shared, never copied, so its size is bounded by that of the file.
type value struct {
	pos    Pos
	kind   Kind
	text   string // of a scalar, as text
	source string // of a scalar in which variables were expanded: the text as it stands in the file
	plain  bool   // of a scalar: written without quotes
	data   any    // of a scalar: bool, int64, uint64, float64 or string
	keys   []Node
	vals   []Node // of a mapping (parallel to keys) or of a list
	index  map[string]int
	bad    bool // already a problem; decoding it leaves the target alone and says nothing more
	weight int  // number of values when all aliases are written out, which bounds the work of decoding
}

// indexFrom is the number of keys from which a mapping is indexed rather than searched.
const indexFrom = 12

// IsZero reports whether the node is absent.
func (n Node) IsZero() bool { return n.v == nil }

// Kind says what the node holds.
func (n Node) Kind() Kind {
	if n.v == nil {
		return Null
	}
	return n.v.kind
}

// Pos returns the place of the node.
func (n Node) Pos() Pos {
	if n.v == nil {
		return Pos{}
	}
	return n.v.pos
}

// File returns the name of the file as it was given to Parse or Load.
func (n Node) File() string { return n.Pos().File }

// Line returns the line, counted from 1.
func (n Node) Line() int { return n.Pos().Line }

// Column returns the column in characters, counted from 1.
func (n Node) Column() int { return n.Pos().Column }

// Problem returns a problem at this node.
func (n Node) Problem(what, do string) Problem { return n.Pos().Problem(what, do) }

// Text returns the text of a scalar, with variables expanded and without quotes, and "" for everything else.
func (n Node) Text() string {
	if n.v == nil {
		return ""
	}
	return n.v.text
}

// Get returns the value of a key of a mapping, or the zero Node.
func (n Node) Get(key string) Node {
	if i := n.find(key); i >= 0 {
		return n.v.vals[i]
	}
	return Node{}
}

// Keys returns the keys of a mapping in the order in which they were written; Text gives the name of each.
func (n Node) Keys() []Node {
	if n.v == nil {
		return nil
	}
	return slices.Clip(n.v.keys)
}

// Items returns the entries of a list.
func (n Node) Items() []Node {
	if n.Kind() != List {
		return nil
	}
	return slices.Clip(n.v.vals)
}

func (n Node) find(key string) int {
	if n.v == nil {
		return -1
	}
	if n.v.index != nil {
		if i, ok := n.v.index[key]; ok {
			return i
		}
		return -1
	}
	for i, k := range n.v.keys {
		if k.v.text == key {
			return i
		}
	}
	return -1
}

// add appends a pair to a mapping that is being built.
func (v *value) add(key, val Node) {
	v.keys, v.vals = append(v.keys, key), append(v.vals, val)
	v.weight += 1 + val.v.weight
	switch {
	case v.index != nil:
		v.index[key.v.text] = len(v.keys) - 1
	case len(v.keys) > indexFrom:
		v.index = make(map[string]int, 2*len(v.keys))
		for i, k := range v.keys {
			v.index[k.v.text] = i
		}
	}
}
