// Package compat says whether events can still be read by those who read the last version's.
//
// In: the AsyncAPI documents of the last version and of now, and the same of the protobuf descriptors. Out: what breaks
// somebody, a line each; nothing when all is well.
// It promises to refuse what it does not understand. Three kinds of people must stay well: who reads what is said now
// with what they wrote for the last version; who reads with what they write now what was stored before; and who writes
// (commands) as they ever did. So fields, values and topics stay, what is required stays required, and what is new is
// optional.
// It never reads a file and knows nothing of Kemi but the names of the extensions x-kemi-topic and x-extensible-enum.
package compat

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Documents compares two AsyncAPI documents, parsed into maps, slices and scalars.
func Documents(before, now map[string]any) (breaches []string) {
	c := &comparison{before: before, now: now, met: map[[2]string]bool{}}
	c.same("asyncapi", major(before["asyncapi"]), major(now["asyncapi"]))
	c.kept("channels", section(before, "channels"), section(now, "channels"), c.channel)
	c.kept("operations", section(before, "operations"), section(now, "operations"), c.operation)
	c.kept("messages", section(before, "components", "messages"), section(now, "components", "messages"), c.message)
	return c.breaches
}

type comparison struct {
	before, now map[string]any
	met         map[[2]string]bool // Pairs of references that are compared already.
	breaches    []string
}

func (c *comparison) refuse(at, format string, args ...any) {
	c.breaches = append(c.breaches, at+": "+fmt.Sprintf(format, args...))
}

// same refuses any difference.
func (c *comparison) same(at string, before, now any) {
	if !reflect.DeepEqual(plain(before), plain(now)) {
		c.refuse(at, "was %s, is %s", show(before), show(now))
	}
}

// kept compares what both have of a section, and refuses what is there no more. New things are welcome.
func (c *comparison) kept(at string, before, now map[string]any, compare func(at string, before, now map[string]any)) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		b, _ := before[name].(map[string]any)
		n, there := now[name].(map[string]any)
		if !there {
			c.refuse(at+"/"+name, "was there, is no more")
			continue
		}
		compare(at+"/"+name, c.resolve(c.before, b), c.resolve(c.now, n))
	}
}

func (c *comparison) channel(at string, before, now map[string]any) {
	c.same(at+"/address", before["address"], now["address"])
	c.same(at+"/servers", before["servers"], now["servers"])
	for name := range section(before, "parameters") {
		b, n := section(before, "parameters", name), section(now, "parameters", name)
		c.same(at+"/parameters/"+name+"/default", b["default"], n["default"])
	}
	// A reader of one kind of message does not expect another on its topic.
	c.same(at+"/messages", section(before, "messages"), section(now, "messages"))
	b, n := section(before, "x-kemi-topic"), section(now, "x-kemi-topic")
	for _, name := range []string{"name", "kind", "key", "route", "partitions", "durability"} {
		c.same(at+"/x-kemi-topic/"+name, b[name], n[name])
	}
	if seconds(n["keepSeconds"]) < seconds(b["keepSeconds"]) {
		c.refuse(at+"/x-kemi-topic/keepSeconds", "was %s, is less: %s", show(b["keepSeconds"]), show(n["keepSeconds"]))
	}
	kb, kn := section(before, "bindings", "kafka"), section(now, "bindings", "kafka")
	c.same(at+"/bindings/kafka/topic", kb["topic"], kn["topic"])
	c.same(at+"/bindings/kafka/partitions", kb["partitions"], kn["partitions"])
	c.same(at+"/bindings/kafka/cleanup.policy", section(kb, "topicConfiguration")["cleanup.policy"], section(kn, "topicConfiguration")["cleanup.policy"])
}

func (c *comparison) operation(at string, before, now map[string]any) {
	c.same(at+"/action", before["action"], now["action"])
	c.same(at+"/channel", before["channel"], now["channel"])
}

func (c *comparison) message(at string, before, now map[string]any) {
	c.same(at+"/name", before["name"], now["name"])
	c.same(at+"/contentType", before["contentType"], now["contentType"])
	c.schema(at+"/headers", section(before, "headers"), section(now, "headers"))
	b, n := section(before, "payload"), section(now, "payload")
	c.same(at+"/payload/schemaFormat", b["schemaFormat"], n["schemaFormat"])
	if b["schemaFormat"] == nil {
		c.schema(at+"/payload", b, n)
	} // Of another format, protobuf, Descriptors says more than its text.
	for _, e := range sequence(before["examples"]) {
		// What was an example is stored somewhere: it is read for ever.
		want, _ := e.(map[string]any)
		if !slices.ContainsFunc(sequence(now["examples"]), func(e any) bool {
			have, _ := e.(map[string]any)
			return reflect.DeepEqual(plain(want["payload"]), plain(have["payload"]))
		}) {
			c.refuse(at+"/examples", "%s was an example, and is changed or gone", show(want["name"]))
		}
	}
}

// resolve follows a reference within a document.
func (c *comparison) resolve(doc, v map[string]any) map[string]any {
	for range 10 {
		to, isRef := v["$ref"].(string)
		if !isRef {
			return v
		}
		v = section(doc, strings.Split(strings.TrimPrefix(to, "#/"), "/")...)
	}
	return v
}

// section walks into a document; what is not there is empty.
func section(v map[string]any, path ...string) map[string]any {
	for _, name := range path {
		v, _ = v[name].(map[string]any)
	}
	return v
}

func sequence(v any) []any {
	s, _ := v.([]any)
	return s
}

func major(v any) string {
	m, _, _ := strings.Cut(fmt.Sprint(v), ".")
	return m
}

// seconds of a retention; 0 is for ever.
func seconds(v any) float64 {
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	switch {
	case err != nil:
		return -1 // It does not say.
	case n == 0:
		return math.Inf(1)
	}
	return n
}

// plain makes numbers of every type equal, as JSON has them.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = plain(e)
		}
		return m
	case []any:
		s := make([]any, len(v))
		for i, e := range v {
			s[i] = plain(e)
		}
		return s
	case int, int64, uint64, float64:
		n, _ := strconv.ParseFloat(fmt.Sprint(v), 64)
		return n
	}
	return v
}

func show(v any) string {
	if v == nil {
		return "nothing"
	}
	return fmt.Sprintf("%v", v)
}
