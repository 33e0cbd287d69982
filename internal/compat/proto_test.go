package compat_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"kemi.dev/kemi/internal/compat"
)

// words is a file like event.proto, with what event.proto has not yet.
func words() *descriptorpb.FileDescriptorProto {
	field := func(name string, number int32, typ descriptorpb.FieldDescriptorProto_Type, of string) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{
			Name: proto.String(name), Number: proto.Int32(number), Type: typ.Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if of != "" {
			f.TypeName = proto.String(of)
		}
		return f
	}
	const (
		str  = descriptorpb.FieldDescriptorProto_TYPE_STRING
		num  = descriptorpb.FieldDescriptorProto_TYPE_INT64
		msg  = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
		enum = descriptorpb.FieldDescriptorProto_TYPE_ENUM
	)
	rows := field("tables", 3, msg, ".k.Table")
	rows.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
	one := field("text", 5, str, "")
	one.OneofIndex = proto.Int32(0)
	return &descriptorpb.FileDescriptorProto{
		Name: proto.String("words.proto"), Package: proto.String("k"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{
			{
				Name:      proto.String("Reading"),
				Field:     []*descriptorpb.FieldDescriptorProto{field("id", 1, str, ""), field("at", 2, num, ""), rows, field("kind", 4, enum, ".k.Kind"), one},
				OneofDecl: []*descriptorpb.OneofDescriptorProto{{Name: proto.String("cell")}},
				ReservedRange: []*descriptorpb.DescriptorProto_ReservedRange{
					{Start: proto.Int32(9), End: proto.Int32(10)},
				},
			},
			{Name: proto.String("Table"), Field: []*descriptorpb.FieldDescriptorProto{field("name", 1, str, "")}},
		},
		EnumType: []*descriptorpb.EnumDescriptorProto{{
			Name:  proto.String("Kind"),
			Value: []*descriptorpb.EnumValueDescriptorProto{{Name: proto.String("NONE"), Number: proto.Int32(0)}, {Name: proto.String("COUNTER"), Number: proto.Int32(1)}},
		}},
	}
}

func file(t *testing.T, p *descriptorpb.FileDescriptorProto) protoreflect.FileDescriptor {
	t.Helper()
	d, err := protodesc.NewFile(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestProtobufThatBreaksAReaderIsRefused(t *testing.T) {
	fields := func(p *descriptorpb.FileDescriptorProto) []*descriptorpb.FieldDescriptorProto {
		return p.MessageType[0].Field
	}
	for name, c := range map[string]struct {
		edit func(p *descriptorpb.FileDescriptorProto)
		want string
	}{
		"a field is gone": {func(p *descriptorpb.FileDescriptorProto) {
			p.MessageType[0].Field = append(fields(p)[:1], fields(p)[2:]...)
		}, "Reading.at = 2: the field was there"},
		"a number is another": {func(p *descriptorpb.FileDescriptorProto) { fields(p)[0].Number = proto.Int32(7) }, "Reading.id = 1: the field was there"},
		"two numbers are swapped": {func(p *descriptorpb.FileDescriptorProto) {
			f := fields(p)
			f[0].Number, f[1].Number = f[1].Number, f[0].Number
		}, "the number is at now"},
		"a field is renamed":     {func(p *descriptorpb.FileDescriptorProto) { fields(p)[0].Name = proto.String("key") }, "the number is key now"},
		"a JSON name is another": {func(p *descriptorpb.FileDescriptorProto) { fields(p)[0].JsonName = proto.String("ID") }, "its JSON name was id, is ID"},
		"a type is another": {func(p *descriptorpb.FileDescriptorProto) {
			fields(p)[1].Type = descriptorpb.FieldDescriptorProto_TYPE_SINT64.Enum()
		}, "was optional int64, is optional sint64"},
		"one is many": {func(p *descriptorpb.FileDescriptorProto) {
			fields(p)[0].Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
		}, "is repeated string"},
		"many is one": {func(p *descriptorpb.FileDescriptorProto) {
			fields(p)[2].Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
		}, "was repeated message k.Table"},
		"a field is another message": {func(p *descriptorpb.FileDescriptorProto) { fields(p)[2].TypeName = proto.String(".k.Reading") }, "is repeated message k.Reading"},
		"a message is gone": {func(p *descriptorpb.FileDescriptorProto) {
			p.MessageType, fields(p)[2].TypeName = p.MessageType[:1], proto.String(".k.Reading")
		}, "Table: the message was there"},
		"a oneof is another": {func(p *descriptorpb.FileDescriptorProto) {
			p.MessageType[0].OneofDecl[0].Name = proto.String("content")
		}, `was in the oneof "cell", is in "content"`},
		"an enum value is another": {func(p *descriptorpb.FileDescriptorProto) { p.EnumType[0].Value[1].Name = proto.String("GAUGE") }, "Kind.COUNTER = 1: the value was there"},
		"an enum value is gone":    {func(p *descriptorpb.FileDescriptorProto) { p.EnumType[0].Value = p.EnumType[0].Value[:1] }, "Kind.COUNTER = 1"},
		"an enum is gone": {func(p *descriptorpb.FileDescriptorProto) {
			p.EnumType, fields(p)[3].Type, fields(p)[3].TypeName = nil, descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum(), nil
		}, "Kind: the enum was there"},
		"another package": {func(p *descriptorpb.FileDescriptorProto) {
			p.Package = proto.String("q")
			fields(p)[2].TypeName, fields(p)[3].TypeName = proto.String(".q.Table"), proto.String(".q.Kind")
		}, "package: was k, is q"},
		"another syntax": {func(p *descriptorpb.FileDescriptorProto) { p.Syntax = proto.String("proto2") }, "syntax"},
		"a number of old is taken again": {func(p *descriptorpb.FileDescriptorProto) {
			f := proto.Clone(fields(p)[0]).(*descriptorpb.FieldDescriptorProto)
			f.Name, f.Number = proto.String("fresh"), proto.Int32(9)
			p.MessageType[0].ReservedRange, p.MessageType[0].Field = nil, append(fields(p), f)
		}, "Reading.fresh = 9: the number was another field's once"},
	} {
		now := words()
		c.edit(now)
		if got := strings.Join(compat.Descriptors(file(t, words()), file(t, now)), "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: told %q, want %s", name, got, c.want)
		}
	}
}

func TestProtobufThatBreaksNobodyPasses(t *testing.T) {
	now := words()
	f := proto.Clone(now.MessageType[0].Field[0]).(*descriptorpb.FieldDescriptorProto)
	f.Name, f.Number = proto.String("fresh"), proto.Int32(20)
	now.MessageType[0].Field = append(now.MessageType[0].Field, f)
	now.MessageType = append(now.MessageType, &descriptorpb.DescriptorProto{Name: proto.String("Notice")})
	now.EnumType[0].Value = append(now.EnumType[0].Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String("GAUGE"), Number: proto.Int32(2)})
	for _, n := range []*descriptorpb.FileDescriptorProto{words(), now} {
		for _, b := range compat.Descriptors(file(t, words()), file(t, n)) {
			t.Error(b)
		}
	}
}
