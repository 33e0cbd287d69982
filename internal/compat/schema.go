package compat

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// annotations of a schema mean nothing to who validates.
var annotations = map[string]bool{
	"description": true, "title": true, "examples": true, "example": true, "externalDocs": true, "deprecated": true, "default": true, "$comment": true,
}

// schema compares two JSON schemas of one place.
func (c *comparison) schema(at string, before, now map[string]any) {
	before, now = unwrap(before), unwrap(now)
	b, isRef := before["$ref"].(string)
	if n, alsoRef := now["$ref"].(string); isRef && alsoRef {
		// A schema that many refer to, itself perhaps, is compared once.
		if c.met[[2]string{b, n}] {
			return
		}
		c.met[[2]string{b, n}] = true
		at = strings.TrimPrefix(b, "#/components/")
	}
	before, now = c.resolve(c.before, before), c.resolve(c.now, now)
	keys := map[string]bool{}
	maps.Copy(keys, present(before))
	maps.Copy(keys, present(now))
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		switch {
		case annotations[key]:
		case key == "properties":
			c.properties(at, before, now)
		case key == "required":
			c.required(at, before, now)
		case key == "enum":
			c.closed(at, before, now)
		case key == "x-extensible-enum":
			c.open(at, before, now)
		case strings.HasPrefix(key, "x-"):
		case key == "items", key == "additionalProperties":
			c.inside(at+"/"+key, before[key], now[key])
		case key == "allOf":
			bs, ns := sequence(before[key]), sequence(now[key])
			if len(bs) != len(ns) {
				c.refuse(at+"/allOf", "had %d parts, has %d", len(bs), len(ns))
				continue
			}
			for i := range bs {
				c.inside(fmt.Sprintf("%s/allOf/%d", at, i), bs[i], ns[i])
			}
		default: // type, format, const, pattern, limits, and whatever else narrows or widens.
			c.same(at+"/"+key, before[key], now[key])
		}
	}
}

func present(schema map[string]any) map[string]bool {
	m := make(map[string]bool, len(schema))
	for k := range schema {
		m[k] = true
	}
	return m
}

// unwrap takes a schema out of an allOf of it alone, which is how a reference gets a description.
func unwrap(schema map[string]any) map[string]any {
	parts := sequence(schema["allOf"])
	for k := range schema {
		if k != "allOf" && !annotations[k] {
			return schema
		}
	}
	if len(parts) == 1 {
		if one, ok := parts[0].(map[string]any); ok {
			return one
		}
	}
	return schema
}

// inside compares what stands where a schema may: a schema, or true or false.
func (c *comparison) inside(at string, before, now any) {
	b, bOK := before.(map[string]any)
	n, nOK := now.(map[string]any)
	if bOK && nOK {
		c.schema(at, b, n)
		return
	}
	c.same(at, before, now)
}

// properties stay; new ones are welcome where required does not name them.
func (c *comparison) properties(at string, before, now map[string]any) {
	b, n := section(before, "properties"), section(now, "properties")
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if _, there := n[name]; !there {
			c.refuse(at+"/"+name, "the field was there, is no more")
			continue
		}
		c.inside(at+"/"+name, b[name], n[name])
	}
}

// required stays as it is: who reads relies on what is, and what was stored or is written by others lacks what is new.
func (c *comparison) required(at string, before, now map[string]any) {
	b, n := texts(before["required"]), texts(now["required"])
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if !n[name] {
			c.refuse(at+"/"+name, "the field was always there, may be missing now")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n)) {
		if !b[name] {
			c.refuse(at+"/"+name, "the field is required now: what was stored before lacks it; let it be optional")
		}
	}
}

// closed enumerations stay as they are.
func (c *comparison) closed(at string, before, now map[string]any) {
	if before["enum"] == nil || now["enum"] == nil {
		c.refuse(at, "was %s, is %s: the set of values is closed on one side only", show(before["enum"]), show(now["enum"]))
		return
	}
	b, n := texts(before["enum"]), texts(now["enum"])
	c.removed(at, b, n)
	for _, v := range slices.Sorted(maps.Keys(n)) {
		if !b[v] {
			c.refuse(at, "the value %q is new: readers were told that there will be no other", v)
		}
	}
}

// open enumerations may grow: readers were told so.
func (c *comparison) open(at string, before, now map[string]any) {
	c.removed(at, texts(before["x-extensible-enum"]), texts(now["x-extensible-enum"]))
}

func (c *comparison) removed(at string, before, now map[string]bool) {
	for _, v := range slices.Sorted(maps.Keys(before)) {
		if !now[v] {
			c.refuse(at, "the value %q was there, is no more", v)
		}
	}
}

func texts(v any) map[string]bool {
	m := map[string]bool{}
	for _, e := range sequence(v) {
		m[fmt.Sprint(e)] = true
	}
	return m
}
