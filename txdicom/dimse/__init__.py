"""DIMSE, the message exchange of PS3.7, without Twisted, a clock, a thread or a file.

`elements` is the dictionary of command elements, `command` turns command sets into bytes and back, `requests` builds
requests, `messages` knows what each message must carry and builds responses, `status` names the status codes.
`assembler` and `fragmenter` turn PDVs into messages and back, `operations` keeps account of what is under way.
"""
