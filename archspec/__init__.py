"""archspec: vision token mixers as YAML, exactly costed and built."""
