package simulate

import (
	"slices"
)

// object is one instance in a device's tree: where it is and which closed-form
// value it has. Trees are shared by all devices of one shape.
type object struct {
	oid   []uint32
	name  []byte // the OID as a BER element
	kind  int    // number of arcs that name the object type, without the instance
	field field
	index int32 // interface, storage or processor, from 1
}

// tree is every object of a device shape, sorted by OID.
type tree []object

// shape says which tree a device has.
type shape struct {
	class Class
	ports int
}

func shapeOf(d Device) shape {
	class := d.Class
	if class == Core {
		class = Switch
	}
	return shape{class, d.interfaces()}
}

// seek returns the position of the first object at or after oid, and whether
// it is that object.
func (t tree) seek(oid []uint32) (int, bool) {
	lo, hi := 0, len(t)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if slices.Compare(t[mid].oid, oid) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(t) && slices.Equal(t[lo].oid, oid)
}

// after returns the position of the first object behind oid.
func (t tree) after(oid []uint32) int {
	i, exact := t.seek(oid)
	if exact {
		i++
	}
	return i
}

// missing tells why there is no object at oid, which seek placed at i:
// noSuchInstance when objects of that type exist, else noSuchObject
// (RFC 3416, 4.2.1).
func (t tree) missing(oid []uint32, i int) byte {
	for _, j := range [2]int{i - 1, i} {
		if j < 0 || j >= len(t) {
			continue
		}
		o := &t[j]
		if len(oid) >= o.kind && slices.Equal(oid[:o.kind], o.oid[:o.kind]) {
			return tagNoInstance
		}
	}
	return tagNoObject
}

// column describes one scalar (instances: just 0) or table column.
type column struct {
	oid       []uint32
	field     field
	instances []instance
}

// instance is one row of a column: its index arcs and the number the value
// functions know it by.
type instance struct {
	arc uint32
	row int32
}

func (s shape) tree() tree {
	var t tree
	for _, c := range s.columns() {
		for _, in := range c.instances {
			oid := append(slices.Clone(c.oid), in.arc)
			t = append(t, object{oid: oid, name: appendOID(nil, oid), kind: len(c.oid), field: c.field, index: in.row})
		}
	}
	slices.SortFunc(t, func(a, b object) int { return slices.Compare(a.oid, b.oid) })
	return t
}
