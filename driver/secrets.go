package driver

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-lib-utils/protosanitizer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	strippedText = "***stripped***" // what protosanitizer writes as well

	// mountFlags may be sensitive (spec, "VolumeCapability") but are not marked as secret.
	mountFlags = "mount_flags"

	// tokensKey is where the kubelet puts a service account's tokens in the volume context, if a
	// CSIDriver object asks for them.
	tokensKey = "csi.storage.k8s.io/serviceAccount.tokens"

	// minSecretBytes keeps a value like "1" or "ro" from being struck out of every message.
	minSecretBytes = 4
)

// withoutSecrets returns the request as one line of JSON for the log.
func withoutSecrets(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	m = proto.Clone(m) // work that goes on may still read the original
	walk(m.ProtoReflect(), func(parent protoreflect.Message, field protoreflect.FieldDescriptor, value protoreflect.Value) {
		stripped := protoreflect.ValueOfString(strippedText)
		switch {
		case field.Name() == mountFlags && field.IsList():
			flags := parent.NewField(field)
			flags.List().Append(stripped)
			parent.Set(field, flags)
		case hasTokens(field, value):
			value.Map().Set(protoreflect.ValueOfString(tokensKey).MapKey(), stripped)
		}
	})
	return protosanitizer.StripSecrets(m).String()
}

// redact strikes out of a message what the request holds in secret. Nobody should have put it there;
// this is for the day when somebody does, or a command repeats what it was given.
func redact(message string, req any) string {
	m, ok := req.(proto.Message)
	if !ok || message == "" {
		return message
	}
	for _, secret := range secretsOf(m) {
		message = strings.ReplaceAll(message, secret, strippedText)
	}
	return message
}

// secretsOf returns the secret texts in a request, the longest first, each as it is, without blanks
// around it, and as %q prints it.
func secretsOf(m proto.Message) []string {
	var secrets []string
	add := func(text string) {
		quoted := strconv.Quote(text)
		for _, form := range []string{text, strings.TrimSpace(text), quoted[1 : len(quoted)-1]} {
			if len(form) >= minSecretBytes && !slices.Contains(secrets, form) {
				secrets = append(secrets, form)
			}
		}
	}
	walk(m.ProtoReflect(), func(_ protoreflect.Message, field protoreflect.FieldDescriptor, value protoreflect.Value) {
		switch {
		case field.Name() == mountFlags && field.IsList():
			for i := range value.List().Len() {
				_, secret, _ := strings.Cut(value.List().Get(i).String(), "=") // the option's name is none
				add(secret)
			}
		case hasTokens(field, value):
			add(value.Map().Get(protoreflect.ValueOfString(tokensKey).MapKey()).String())
		case field.IsMap() && proto.GetExtension(field.Options(), csi.E_CsiSecret).(bool):
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				add(v.String())
				return true
			})
		}
	})
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return secrets
}

func hasTokens(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
	return field.IsMap() && field.MapKey().Kind() == protoreflect.StringKind && field.MapValue().Kind() == protoreflect.StringKind &&
		value.Map().Has(protoreflect.ValueOfString(tokensKey).MapKey())
}

// walk visits every field that is set in a message and in the messages below it.
func walk(m protoreflect.Message, visit func(protoreflect.Message, protoreflect.FieldDescriptor, protoreflect.Value)) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap() && field.MapValue().Message() != nil:
			value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				walk(v.Message(), visit)
				return true
			})
		case field.IsList() && field.Message() != nil:
			for i := range value.List().Len() {
				walk(value.List().Get(i).Message(), visit)
			}
		case !field.IsMap() && !field.IsList() && field.Message() != nil:
			walk(value.Message(), visit)
		}
		visit(m, field, value)
		return true
	})
}
