// SPDX-License-Identifier: Apache-2.0

package translate

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// way is the way from a subject to one of its fields.
type way []protoreflect.FieldDescriptor

func (w way) last() protoreflect.FieldDescriptor { return w[len(w)-1] }

// path is the way as people write it, without the indices of lists.
func (w way) path() string {
	names := make([]string, len(w))
	for i, d := range w {
		names[i] = string(d.Name())
	}
	return strings.Join(names, ".")
}

// parent is the message that holds the field. What is missing on the way to it
// is added; of a list, the first element is meant.
func (w way) parent(m protoreflect.Message) protoreflect.Message {
	for _, d := range w[:len(w)-1] {
		if !d.IsList() {
			m = m.Mutable(d).Message()
			continue
		}
		list := m.Mutable(d).List()
		if list.Len() == 0 {
			list.AppendMutable()
		}
		m = list.Get(0).Message()
	}
	return m
}

// set gives the field a value. Maps and lists get it as one more element.
func (w way) set(m proto.Message, v protoreflect.Value) {
	parent, d := w.parent(m.ProtoReflect()), w.last()
	switch {
	case d.IsMap():
		parent.Mutable(d).Map().Set(protoreflect.ValueOfString(mapKey).MapKey(), v)
	case d.IsList():
		parent.Mutable(d).List().Append(v)
	default:
		parent.Set(d, v)
	}
}

// isMessage tells whether the field holds a message, or a list of them.
func isMessage(d protoreflect.FieldDescriptor) bool { return d.Message() != nil && !d.IsMap() }

// values are what the field is tried with. None is its zero value.
func values(path string, d protoreflect.FieldDescriptor) []protoreflect.Value {
	if d.IsMap() {
		d = d.MapValue()
	}
	switch d.Kind() {
	case protoreflect.EnumKind:
		return enumValues(d.Enum().Values())
	case protoreflect.BoolKind:
		return []protoreflect.Value{protoreflect.ValueOfBool(true)}
	case protoreflect.StringKind:
		return []protoreflect.Value{protoreflect.ValueOfString(firstOf(examples[path], "other"))}
	case protoreflect.BytesKind:
		return []protoreflect.Value{protoreflect.ValueOfBytes([]byte("other"))}
	case protoreflect.Int32Kind:
		return []protoreflect.Value{protoreflect.ValueOfInt32(7)}
	case protoreflect.Int64Kind:
		return []protoreflect.Value{protoreflect.ValueOfInt64(max(exampleSizes[path], 7))}
	case protoreflect.Uint32Kind:
		return []protoreflect.Value{protoreflect.ValueOfUint32(7)}
	case protoreflect.Uint64Kind:
		return []protoreflect.Value{protoreflect.ValueOfUint64(7)}
	}
	panic(fmt.Sprintf("%s: no value for fields of kind %v", path, d.Kind()))
}

func enumValues(all protoreflect.EnumValueDescriptors) []protoreflect.Value {
	var out []protoreflect.Value
	for i := range all.Len() {
		if n := all.Get(i).Number(); n != 0 {
			out = append(out, protoreflect.ValueOfEnum(n))
		}
	}
	return out
}

// valueName is how the ledger calls a value of an enumeration.
func valueName(d protoreflect.FieldDescriptor, v protoreflect.Value) string {
	if d.Enum() == nil {
		return v.String()
	}
	return string(d.Enum().Values().ByNumber(v.Enum()).Name())
}
