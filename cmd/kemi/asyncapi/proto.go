package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"kemi.dev/kemi/bus/event/eventpb"
)

const protoFile = "bus/event/eventpb/event.proto"

// protoOf cuts a message and those it holds out of the .proto file, so that the cut is a file of its own with one root.
func protoOf(file, message string) (string, error) {
	blocks := map[string]string{}
	var head, block, comment []string
	for _, line := range strings.Split(file, "\n") {
		name, begins := strings.CutPrefix(line, "message ")
		switch {
		case begins:
			block = append(comment, line)
			comment = nil
			name, _, _ = strings.Cut(name, " ")
			blocks[name] = ""
		case len(block) > 0:
			block = append(block, line)
			if line == "}" {
				for name, text := range blocks {
					if text == "" {
						blocks[name] = strings.Join(block, "\n")
					}
				}
				block = nil
			}
		case strings.HasPrefix(line, "//"):
			comment = append(comment, line)
		default:
			comment = nil
			if strings.HasPrefix(line, "syntax") || strings.HasPrefix(line, "package") {
				head = append(head, line)
			}
		}
	}
	all := head
	root := eventpb.File_bus_event_eventpb_event_proto.Messages().ByName(protoreflect.Name(message))
	if root == nil {
		return "", fmt.Errorf("%s has no message %s", protoFile, message)
	}
	for _, name := range parts(root, nil) {
		if blocks[name] == "" {
			return "", fmt.Errorf("%s: message %s does not begin a line", protoFile, name)
		}
		all = append(all, "", blocks[name])
	}
	return strings.Join(all, "\n") + "\n", nil
}

// parts lists the names of a message and of those that its fields hold.
func parts(m protoreflect.MessageDescriptor, names []string) []string {
	if slices.Contains(names, string(m.Name())) {
		return names
	}
	names = append(names, string(m.Name()))
	for i := range m.Fields().Len() {
		if f := m.Fields().Get(i); f.Message() != nil {
			names = parts(f.Message(), names)
		}
	}
	return names
}
