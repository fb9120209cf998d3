import { Context, Model, Sampler, runtime } from '@pie-project/inferlet';

interface Input {
  prompt?: string;
  system?: string;
  max_tokens?: number;
}

export async function main(input: Input): Promise<string> {
  const model = Model.load(runtime.models()[0]);
  const context = new Context(model);
  context.system(input.system ?? 'You are a helpful assistant.');
  context.user(input.prompt ?? 'Hello!');
  return await context.generate(Sampler.argmax(), { maxTokens: input.max_tokens ?? 64 }).collectText();
}
