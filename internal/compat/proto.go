package compat

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Descriptors compares two versions of a protobuf file. Numbers, names, types and cardinalities stay; a number is never
// used again. Readers pass over fields they do not know, so new ones are welcome.
func Descriptors(before, now protoreflect.FileDescriptor) (breaches []string) {
	refuse := func(at, format string, args ...any) {
		breaches = append(breaches, at+": "+fmt.Sprintf(format, args...))
	}
	if before.Package() != now.Package() {
		refuse("package", "was %s, is %s", before.Package(), now.Package())
	}
	if before.Syntax() != now.Syntax() {
		refuse("syntax", "was %s, is %s", before.Syntax(), now.Syntax())
	}
	messages("", before.Messages(), now.Messages(), refuse)
	enums("", before.Enums(), now.Enums(), refuse)
	return breaches
}

type refusal func(at, format string, args ...any)

func messages(in string, before, now protoreflect.MessageDescriptors, refuse refusal) {
	for i := range before.Len() {
		b := before.Get(i)
		at := in + string(b.Name())
		n := now.ByName(b.Name())
		if n == nil {
			refuse(at, "the message was there, is no more")
			continue
		}
		fields(at, b, n, refuse)
		messages(at+".", b.Messages(), n.Messages(), refuse)
		enums(at+".", b.Enums(), n.Enums(), refuse)
	}
}

func fields(at string, before, now protoreflect.MessageDescriptor, refuse refusal) {
	for i := range before.Fields().Len() {
		b := before.Fields().Get(i)
		n := now.Fields().ByNumber(b.Number())
		at := fmt.Sprintf("%s.%s = %d", at, b.Name(), b.Number())
		if n == nil {
			refuse(at, "the field was there, is no more")
			continue
		}
		if b.Name() != n.Name() {
			refuse(at, "the number is %s now", n.Name())
		}
		if b.JSONName() != n.JSONName() {
			refuse(at, "its JSON name was %s, is %s", b.JSONName(), n.JSONName())
		}
		if was, is := typeOf(b), typeOf(n); was != is {
			refuse(at, "was %s, is %s", was, is)
		}
		if was, is := oneof(b), oneof(n); was != is {
			refuse(at, "was in the oneof %q, is in %q", was, is)
		}
	}
	for i := range before.ReservedRanges().Len() {
		r := before.ReservedRanges().Get(i)
		for number := r[0]; number < r[1]; number++ {
			if n := now.Fields().ByNumber(number); n != nil {
				refuse(fmt.Sprintf("%s.%s = %d", at, n.Name(), number), "the number was another field's once: take a new one")
			}
		}
	}
}

// typeOf says what is on the wire and how often.
func typeOf(f protoreflect.FieldDescriptor) string {
	t := f.Cardinality().String() + " " + f.Kind().String()
	if f.HasOptionalKeyword() {
		t = "explicitly " + t
	}
	switch {
	case f.Message() != nil:
		t += " " + string(f.Message().FullName())
	case f.Enum() != nil:
		t += " " + string(f.Enum().FullName())
	}
	return t
}

func oneof(f protoreflect.FieldDescriptor) string {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return string(o.Name())
	}
	return ""
}

func enums(in string, before, now protoreflect.EnumDescriptors, refuse refusal) {
	for i := range before.Len() {
		b := before.Get(i)
		at := in + string(b.Name())
		n := now.ByName(b.Name())
		if n == nil {
			refuse(at, "the enum was there, is no more")
			continue
		}
		for k := range b.Values().Len() {
			v := b.Values().Get(k)
			if is := n.Values().ByNumber(v.Number()); is == nil || is.Name() != v.Name() {
				refuse(fmt.Sprintf("%s.%s = %d", at, v.Name(), v.Number()), "the value was there, is no more")
			}
		}
	}
}
