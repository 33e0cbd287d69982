package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"kemi.dev/kemi/bus/event/eventpb"
	"kemi.dev/kemi/internal/compat"
)

// Where the last version is kept.
const (
	lastDocument   = "bus/event/testdata/v1/events.asyncapi.yaml"
	lastDescriptor = "bus/event/testdata/v1/event.binpb"
)

// breaches says what the document and the descriptor of now break of the last version's; fs.ErrNotExist when there is none.
func breaches(root string, doc []byte) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(root, lastDocument))
	if err != nil {
		return nil, fmt.Errorf("read the last version: %w", err)
	}
	var before, now map[string]any
	if err := errors.Join(yaml.Unmarshal(text, &before), yaml.Unmarshal(doc, &now)); err != nil {
		return nil, fmt.Errorf("read the documents: %w", err)
	}
	bytes, err := os.ReadFile(filepath.Join(root, lastDescriptor))
	if err != nil {
		return nil, fmt.Errorf("read the last version: %w", err)
	}
	var last descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(bytes, &last); err != nil {
		return nil, fmt.Errorf("read %s: %w", lastDescriptor, err)
	}
	file, err := protodesc.NewFile(&last, nil)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", lastDescriptor, err)
	}
	return append(compat.Documents(before, now), compat.Descriptors(file, eventpb.File_bus_event_eventpb_event_proto)...), nil
}

// release keeps the document and the descriptor as the last version's.
func release(root string, doc []byte) error {
	switch all, err := breaches(root, doc); {
	case errors.Is(err, fs.ErrNotExist): // The first one.
	case err != nil:
		return err
	case len(all) > 0:
		return fmt.Errorf("readers of the last version would break (docs/adding.md says how to change a word):\n  %s", strings.Join(all, "\n  "))
	}
	descriptor, err := proto.MarshalOptions{Deterministic: true}.Marshal(protodesc.ToFileDescriptorProto(eventpb.File_bus_event_eventpb_event_proto))
	if err != nil {
		return fmt.Errorf("write the descriptor: %w", err)
	}
	return errors.Join(
		os.WriteFile(filepath.Join(root, lastDocument), doc, 0o644),
		os.WriteFile(filepath.Join(root, lastDescriptor), descriptor, 0o644),
	)
}
